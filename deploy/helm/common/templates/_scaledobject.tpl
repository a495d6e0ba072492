{{/* KEDA: one replica more for every `lag.perReplica` records that wait in one of the topics the service reads. */}}
{{- define "common.scaledobject" -}}
{{- if and .Values.autoscaling.enabled (eq .Values.autoscaling.by "lag") -}}
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: {{ include "common.fullname" . }}
  labels:
    {{- include "common.labels" . | nindent 4 }}
spec:
  scaleTargetRef:
    name: {{ include "common.fullname" . }}
  minReplicaCount: {{ .Values.autoscaling.minReplicas }}
  maxReplicaCount: {{ .Values.autoscaling.maxReplicas }}
  pollingInterval: 15
  # Every change of the number of replicas moves partitions: go down slowly.
  cooldownPeriod: 600
  triggers:
    {{- range .Values.autoscaling.lag.topics }}
    - type: kafka
      metadata:
        bootstrapServers: {{ $.Values.config.KAFKA_BOOTSTRAP_SERVERS | quote }}
        consumerGroup: {{ $.Values.autoscaling.lag.consumerGroup | quote }}
        topic: {{ . | quote }}
        lagThreshold: {{ $.Values.autoscaling.lag.perReplica | toString | quote }}
        offsetResetPolicy: earliest
      {{- if $.Values.autoscaling.lag.triggerAuthentication }}
      authenticationRef:
        name: {{ $.Values.autoscaling.lag.triggerAuthentication }}
      {{- end }}
    {{- end }}
{{- end -}}
{{- end -}}
