package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/chart"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/loader"
	"helm.sh/helm/v4/pkg/cli/values"
	"helm.sh/helm/v4/pkg/getter"
	release "helm.sh/helm/v4/pkg/release/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// templating renders a chart on disk into the release that `helm template` prints. The fields are its flags.
type templating struct {
	// Chart is a folder or an archive.
	Chart       string   `json:"chart"`
	Release     string   `json:"release"`
	Namespace   string   `json:"namespace"`
	Values      []string `json:"values"`
	Set         []string `json:"set"`
	SetString   []string `json:"setString"`
	SetJSON     []string `json:"setJson"`
	SetFile     []string `json:"setFile"`
	SetLiteral  []string `json:"setLiteral"`
	KubeVersion string   `json:"kubeVersion"`
	APIVersions []string `json:"apiVersions"`
	IncludeCRDs bool     `json:"includeCrds"`
	IsUpgrade   bool     `json:"isUpgrade"`
	SkipSchema  bool     `json:"skipSchema"`
	// SubNotes also renders the NOTES.txt of subcharts. The flag is one of `helm install`.
	SubNotes bool `json:"subNotes"`
}

// hook is what a release stores about a hook.
type hook struct {
	Name           string   `json:"name"`
	Kind           string   `json:"kind"`
	Path           string   `json:"path"`
	Manifest       string   `json:"manifest"`
	Events         []string `json:"events,omitempty"`
	Weight         int      `json:"weight"`
	DeletePolicies []string `json:"deletePolicies,omitempty"`
	OutputLog      []string `json:"outputLog,omitempty"`
}

func (t templating) run() answer {
	rel, err := t.render()
	if err != nil {
		return answer{Error: err.Error()}
	}
	given := answer{Manifest: rel.Manifest, Notes: rel.Info.Notes}
	if t.IncludeCRDs {
		var crds strings.Builder
		for _, crd := range rel.Chart.CRDObjects() {
			fmt.Fprintf(&crds, "---\n# Source: %s\n%s\n", crd.Filename, crd.File.Data)
		}
		given.Manifest = strings.TrimPrefix(given.Manifest, crds.String())
	}
	for _, h := range rel.Hooks {
		given.Hooks = append(given.Hooks, stored(h))
	}
	given.Objects, err = objects(rel.Manifest)
	if err != nil {
		return answer{Error: err.Error()}
	}
	return given
}

// objects reads a release's manifest the way Helm does before it sends the objects to a cluster.
func objects(manifest string) ([]json.RawMessage, error) {
	var found []json.RawMessage
	documents := yaml.NewYAMLReader(bufio.NewReader(strings.NewReader(manifest)))
	for {
		document, err := documents.Read()
		if err == io.EOF {
			return found, nil
		} else if err != nil {
			return nil, fmt.Errorf("split the manifest: %w", err)
		}
		object, err := yaml.ToJSON(document)
		if err != nil {
			return nil, fmt.Errorf("read an object: %w", err)
		}
		if string(object) != "null" {
			found = append(found, object)
		}
	}
}

// render loads and renders the chart in the same steps as Helm's command, which exports none of them.
func (t templating) render() (*release.Release, error) {
	client := action.NewInstall(action.NewConfiguration())
	client.DryRunStrategy = action.DryRunClient
	client.Replace = true
	client.ReleaseName, client.Namespace = t.Release, t.Namespace
	client.APIVersions = common.VersionSet(t.APIVersions)
	client.IncludeCRDs = t.IncludeCRDs
	client.IsUpgrade, client.SkipSchemaValidation, client.SubNotes = t.IsUpgrade, t.SkipSchema, t.SubNotes
	if t.KubeVersion != "" {
		version, err := common.ParseKubeVersion(t.KubeVersion)
		if err != nil {
			return nil, fmt.Errorf("invalid kube version '%s': %w", t.KubeVersion, err)
		}
		client.KubeVersion = version
	}

	options := values.Options{
		ValueFiles: t.Values, Values: t.Set, StringValues: t.SetString,
		JSONValues: t.SetJSON, FileValues: t.SetFile, LiteralValues: t.SetLiteral,
	}
	input, err := options.MergeValues(getter.Providers{})
	if err != nil {
		return nil, err
	}
	loaded, err := loader.Load(t.Chart)
	if err != nil {
		return nil, err
	}
	if err := installable(loaded); err != nil {
		return nil, err
	}
	rendered, err := client.Run(loaded, input)
	if rendered == nil {
		return nil, err
	}
	rel, ok := rendered.(*release.Release)
	if !ok {
		return nil, fmt.Errorf("a release of type %T", rendered)
	}
	return rel, err
}

// installable returns an error if the command would refuse the chart before rendering it.
func installable(loaded chart.Charter) error {
	accessor, err := chart.NewAccessor(loaded)
	if err != nil {
		return err
	}
	if kind := accessor.MetadataAsMap()["Type"]; kind != "" && kind != "application" {
		return fmt.Errorf("%s charts are not installable", kind)
	}
	if required := accessor.MetaDependencies(); len(required) > 0 {
		return action.CheckDependencies(loaded, required)
	}
	return nil
}

func stored(h *release.Hook) hook {
	given := hook{Name: h.Name, Kind: h.Kind, Path: h.Path, Manifest: h.Manifest, Weight: h.Weight}
	for _, event := range h.Events {
		given.Events = append(given.Events, string(event))
	}
	for _, policy := range h.DeletePolicies {
		given.DeletePolicies = append(given.DeletePolicies, string(policy))
	}
	for _, policy := range h.OutputLogPolicies {
		given.OutputLog = append(given.OutputLog, string(policy))
	}
	return given
}
