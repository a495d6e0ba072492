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
  {{- range $name, $value := .Values.config }}
  {{ $name }}: {{ $value | quote }}
  {{- end }}
{{- end -}}
