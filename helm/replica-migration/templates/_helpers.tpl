{{/* Labels that select: component[, pair]. Call with (dict "root" $ "component" "guard" "pair" "billing"). */}}
{{- define "pgrm.selector" -}}
app.kubernetes.io/name: replica-migration
app.kubernetes.io/instance: {{ quote .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- with .pair }}
replica-migration/pair: {{ quote . }}
{{- end }}
{{- end }}

{{- define "pgrm.labels" -}}
{{ include "pgrm.selector" . }}
app.kubernetes.io/version: {{ quote .root.Chart.AppVersion }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{/* NAME, or an error that says what is too long: (list NAME LIMIT). */}}
{{- define "pgrm.name" -}}
{{- $name := index . 0 -}}
{{- $limit := index . 1 -}}
{{- if gt (len $name) $limit -}}
{{- fail (printf "the name %s has %d characters, allowed are %d: choose a shorter name of the release, the pair or the run" $name (len $name) $limit) -}}
{{- end -}}
{{- $name -}}
{{- end }}

{{/* 52: a StatefulSet puts a hash behind it, in a label. */}}
{{- define "pgrm.guard" -}}
{{- include "pgrm.name" (list (printf "%s-guard-%s" .root.Release.Name .pair) 52) -}}
{{- end }}

{{/* A Job of the cutover: (dict "root" $ "pair" "billing"). */}}
{{- define "pgrm.job" -}}
{{- $values := .root.Values.cutover -}}
{{- $run := required "cutover.pairs needs cutover.run, a part of the Job's name: for instance the date" $values.run -}}
{{- include "pgrm.name" (list (printf "%s-%s-%s-%s" .root.Release.Name ($values.dryRun | ternary "dry-run" "cutover") .pair $run) 63) -}}
{{- end }}

{{/* What holds every pod. (list UID) */}}
{{- define "pgrm.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: {{ index . 0 }}
  runAsGroup: {{ index . 0 }}
  fsGroup: {{ index . 0 }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* Where a pod may run and whose images it gets: (dict "root" $ "of" .Values.agent). */}}
{{- define "pgrm.place" -}}
{{- $place := dict "imagePullSecrets" .root.Values.images.pullSecrets "nodeSelector" .of.nodeSelector "tolerations" .of.tolerations -}}
{{- range $key, $value := $place }}{{ if $value }}{{ $key }}: {{ toJson $value }}
{{ end }}{{ end }}
{{- end }}

{{/* What holds every container, and its image: (dict "root" $ "name" "agent"). */}}
{{- define "pgrm.container" -}}
image: {{ printf "%sreplica-migration-%s:%s" .root.Values.images.prefix .name (.root.Values.images.tag | default .root.Chart.AppVersion) | quote }}
imagePullPolicy: {{ .root.Values.images.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* The same places in every pod, so that a path in the pairs file fits each of them. (dict "root" $ "of" .Values.agent) */}}
{{- define "pgrm.env" -}}
- {name: PAIRS_FILE, value: /etc/pgrm/pairs.yml}
- {name: POSTGRES_USER, value: {{ quote .of.user }}}
- {name: POSTGRES_PASSWORD_FILE, value: /run/secrets/pgrm/password}
{{- with .of.env }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "pgrm.mounts" -}}
- {name: pairs, mountPath: /etc/pgrm, readOnly: true}
- {name: secrets, mountPath: /run/secrets/pgrm, readOnly: true}
{{- with .of.volumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "pgrm.volumes" -}}
- name: pairs
  configMap: {name: {{ .root.Release.Name }}-pairs}
- name: secrets
  secret: {secretName: {{ quote .of.secret }}, defaultMode: 0440}
{{- with .of.volumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* In a pod of the agent. With the processes of the pod in one space the agent is not process 1, which its guard could not end. */}}
{{- define "pgrm.agentPod" -}}
shareProcessNamespace: true
{{ include "pgrm.pod" (list 10003) }}
{{- end }}

{{/* The agent, for the pair of (dict "root" $ "pair" "billing"). `kubectl exec` gets the same variables. */}}
{{- define "pgrm.agent" -}}
{{ include "pgrm.container" (dict "root" .root "name" "agent") }}
env:
  {{- include "pgrm.env" (dict "root" .root "of" .root.Values.agent) | nindent 2 }}
  - {name: PAIR, value: {{ quote .pair }}}
  - {name: STATE_DIR, value: /var/lib/agent}
  - {name: EXPORTER_URL, value: "http://{{ .root.Release.Name }}-exporter:9717"}
volumeMounts:
  {{- include "pgrm.mounts" (dict "root" .root "of" .root.Values.agent) | nindent 2 }}
  - {name: state, mountPath: /var/lib/agent}
resources: {{ toJson .root.Values.agent.resources }}
{{- end }}
