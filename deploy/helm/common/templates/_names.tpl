{{/* The name of everything a release makes: the release's, with the chart's behind it unless it ends in it already. */}}
{{- define "common.fullname" -}}
{{- if or (eq .Release.Name .Chart.Name) (hasSuffix (printf "-%s" .Chart.Name) .Release.Name) -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What selects the pods of the service; never changes during a release's life. */}}
{{- define "common.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "common.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{ include "common.selectorLabels" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: jawab
{{- end -}}

{{/* Jobs' pods must not be selected by the Service. */}}
{{- define "common.jobLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}-job
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/part-of: jawab
{{- end -}}

{{- define "common.image" -}}
{{ printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
{{- end -}}
