{{- define "common.configmap" -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "common.fullname" . }}
  labels:
    {{- include "common.labels" . | nindent 4 }}
data:
  PORT: {{ .Values.port | toString | quote }}
  KAFKA_DRAIN_TIMEOUT: {{ .Values.drainSeconds | toString | quote }}
  {{- if .Values.kafkaCa.existingSecret }}
  KAFKA_CA_FILE: /etc/jawab/kafka/ca.crt
  {{- end }}
  {{- if .Values.kafkaClientCertificate.existingSecret }}
  KAFKA_CERT_FILE: /etc/jawab/kafka-client/tls.crt
  KAFKA_KEY_FILE: /etc/jawab/kafka-client/tls.key
  {{- end }}
  {{- if eq .Chart.Name "delivery" }}
  {{- $most := ternary .Values.autoscaling.maxReplicas .Values.replicas .Values.autoscaling.enabled }}
  # And one: a rollout starts a new pod before it ends an old one.
  DELIVERY_REPLICAS: {{ add1 $most | toString | quote }}
  {{- end }}
  {{- range $name, $value := .Values.config }}
  {{ $name }}: {{ $value | quote }}
  {{- end }}
{{- end -}}
