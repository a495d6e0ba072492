{{- define "common.horizontalpodautoscaler" -}}
{{- if and .Values.autoscaling.enabled (eq .Values.autoscaling.by "cpu") -}}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ include "common.fullname" . }}
  labels:
    {{- include "common.labels" . | nindent 4 }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: {{ include "common.fullname" . }}
  minReplicas: {{ .Values.autoscaling.minReplicas }}
  maxReplicas: {{ .Values.autoscaling.maxReplicas }}
  metrics:
    - type: Resource
      resource:
        name: cpu
        target:
          type: Utilization
          averageUtilization: {{ .Values.autoscaling.cpuUtilization }}
  behavior:
    scaleDown:
      # Every change of the number of replicas moves partitions: go down slowly.
      stabilizationWindowSeconds: 600
{{- end -}}
{{- end -}}
