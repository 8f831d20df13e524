// What tests/helm/tools builds, with the libraries of one version of Kubernetes.
module tools

go 1.26.0

require (
	github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring v0.95.2
	github.com/yannh/kubeconform v0.7.0
	helm.sh/helm/v3 v3.22.0
	k8s.io/apiserver v0.37.2
	k8s.io/cli-runtime v0.37.2
	k8s.io/client-go v0.37.2
	k8s.io/code-generator v0.37.2
	k8s.io/kubectl v0.37.2
	sigs.k8s.io/controller-tools v0.20.1
)
