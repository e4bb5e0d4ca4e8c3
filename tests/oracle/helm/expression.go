package main

import (
	"errors"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/engine"
)

// expressionName is the path of the chart's only template, in which an expression is rendered.
const expressionName = "templates/t.yaml"

// expression is a template's text, rendered by the real engine as the only template of a chart named `c`.
type expression struct {
	Text string `json:"text"`
	// Input is the chart's values. As in Helm, numbers become float64.
	Input map[string]any `json:"input"`
	// Helpers is the text of templates/_helpers.tpl.
	Helpers string `json:"helpers"`
}

func (e expression) render() (string, error) {
	c := &chart.Chart{
		Metadata:  &chart.Metadata{APIVersion: "v2", Name: "c", Version: "0.1.0", AppVersion: "1.2.3"},
		Templates: []*common.File{{Name: expressionName, Data: []byte(e.Text)}},
		Files: []*common.File{
			{Name: "a.txt", Data: []byte("one\ntwo\n")},
			{Name: "dir/b.bin", Data: []byte{0, 0xff, 'x'}},
		},
	}
	if e.Helpers != "" {
		c.Templates = append(c.Templates, &common.File{Name: "templates/_helpers.tpl", Data: []byte(e.Helpers)})
	}
	options := common.ReleaseOptions{Name: "r", Namespace: "n", Revision: 1, IsInstall: true}
	values, err := util.ToRenderValues(c, e.Input, options, common.DefaultCapabilities.Copy())
	if err != nil {
		return "", err
	}
	rendered, err := engine.Render(c, values)
	if err != nil {
		return "", err
	}
	output, ok := rendered["c/"+expressionName]
	if !ok {
		return "", errors.New("the engine rendered no template")
	}
	return output, nil
}
