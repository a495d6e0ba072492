{{/* What a container reads: plain settings from the ConfigMap, each secret by its own key, so that no service sees
     a secret it has no use for. */}}
{{- define "common.environment" -}}
envFrom:
  - configMapRef:
      name: {{ include "common.fullname" . }}
env:
{{- $secret := .Values.secret.existingSecret }}
{{- range .Values.secret.required }}
  - name: {{ . }}
    valueFrom:
      secretKeyRef:
        name: {{ $secret }}
        key: {{ . }}
{{- end }}
{{- range .Values.secret.optional }}
  - name: {{ . }}
    valueFrom:
      secretKeyRef:
        name: {{ $secret }}
        key: {{ . }}
        optional: true
{{- end }}
{{- end -}}

{{/* Only what reaching Kafka needs. */}}
{{- define "common.kafkaEnvironment" -}}
envFrom:
  - configMapRef:
      name: {{ include "common.fullname" . }}
env:
{{- $secret := .Values.secret.existingSecret }}
{{- range .Values.secret.optional }}
{{- if hasPrefix "KAFKA_" . }}
  - name: {{ . }}
    valueFrom:
      secretKeyRef:
        name: {{ $secret }}
        key: {{ . }}
        optional: true
{{- end }}
{{- end }}
{{- end -}}

{{- define "common.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  runAsNonRoot: true
  capabilities:
    drop: [ALL]
{{- end -}}

{{- define "common.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false
serviceAccountName: {{ include "common.fullname" . }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "common.mounts" -}}
volumeMounts:
  - name: tmp
    mountPath: /tmp
  {{- if .Values.kafkaCa.existingSecret }}
  - name: kafka-ca
    mountPath: /etc/jawab/kafka
    readOnly: true
  {{- end }}
  {{- if .Values.kafkaClientCertificate.existingSecret }}
  - name: kafka-client
    mountPath: /etc/jawab/kafka-client
    readOnly: true
  {{- end }}
{{- end -}}

{{- define "common.volumes" -}}
volumes:
  - name: tmp
    emptyDir:
      sizeLimit: 64Mi
  {{- if .Values.kafkaCa.existingSecret }}
  - name: kafka-ca
    secret:
      secretName: {{ .Values.kafkaCa.existingSecret }}
      items:
        - key: {{ .Values.kafkaCa.key }}
          path: ca.crt
  {{- end }}
  {{- with .Values.kafkaClientCertificate }}
  {{- if .existingSecret }}
  - name: kafka-client
    secret:
      secretName: {{ .existingSecret }}
      items:
        - key: {{ .certKey }}
          path: tls.crt
        - key: {{ .keyKey }}
          path: tls.key
  {{- end }}
  {{- end }}
{{- end -}}

{{/* The Secrets a pod reads, by name. */}}
{{- define "common.secretNames" -}}
{{- $names := list .Values.secret.existingSecret .Values.kafkaCa.existingSecret .Values.kafkaClientCertificate.existingSecret -}}
{{- compact $names | uniq | join "," -}}
{{- end -}}

{{/* What these Secrets hold, as far as Helm can see it: nothing where it only renders. */}}
{{- define "common.secretsChecksum" -}}
{{- $held := dict -}}
{{- range splitList "," (include "common.secretNames" .) -}}
{{- $_ := set $held . (dig "data" dict (lookup "v1" "Secret" $.Release.Namespace . | default dict)) -}}
{{- end -}}
{{- $held | toJson | sha256sum -}}
{{- end -}}
