package main

import (
	"reflect"
	"slices"
	"strings"
	"text/template"
	_ "unsafe" // for go:linkname

	_ "helm.sh/helm/v4/pkg/engine"
)

// engineFunctions is the engine's own function map, which the library does not export: the very list that charts can call,
// without repeating any of it here.
//
//go:linkname engineFunctions helm.sh/helm/v4/pkg/engine.funcMap
func engineFunctions() template.FuncMap

// builtins are the functions that text/template itself defines. It exports no list of them. Their parameters follow its
// documentation: the package compiles some of them specially and declares them with looser types.
var builtins = map[string]function{
	"and":      {In: []string{"any", "any"}, Variadic: true},
	"call":     {In: []string{"any", "any"}, Variadic: true},
	"html":     {In: []string{"any"}, Variadic: true},
	"index":    {In: []string{"any", "any"}, Variadic: true},
	"slice":    {In: []string{"any", "any"}, Variadic: true},
	"js":       {In: []string{"any"}, Variadic: true},
	"len":      {In: []string{"any"}},
	"not":      {In: []string{"any"}},
	"or":       {In: []string{"any", "any"}, Variadic: true},
	"print":    {In: []string{"any"}, Variadic: true},
	"printf":   {In: []string{"string", "any"}, Variadic: true},
	"println":  {In: []string{"any"}, Variadic: true},
	"urlquery": {In: []string{"any"}, Variadic: true},
	"eq":       {In: []string{"any", "any"}, Variadic: true},
	"ge":       {In: []string{"any", "any"}},
	"gt":       {In: []string{"any", "any"}},
	"le":       {In: []string{"any", "any"}},
	"lt":       {In: []string{"any", "any"}},
	"ne":       {In: []string{"any", "any"}},
	"break":    {Keyword: true},
	"continue": {Keyword: true},
}

// function is one name that a template can call.
type function struct {
	Name string `json:"name"`
	// In are the parameters as Go types, "any" for an empty interface. A variadic parameter is given as its element type.
	In       []string `json:"in"`
	Variadic bool     `json:"variadic"`
	// Keyword says that the name is not a function, but is written like one.
	Keyword bool `json:"keyword,omitempty"`
	// Builtin says that text/template defines it rather than Helm.
	Builtin bool `json:"builtin,omitempty"`
}

func functions() []function {
	var all []function
	for name, fn := range engineFunctions() {
		all = append(all, describe(name, reflect.TypeOf(fn)))
	}
	for name, builtin := range builtins {
		builtin.Name, builtin.Builtin = name, true
		all = append(all, builtin)
	}
	slices.SortFunc(all, func(a, b function) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func describe(name string, t reflect.Type) function {
	f := function{Name: name, In: []string{}, Variadic: t.IsVariadic()}
	for i := range t.NumIn() {
		in := t.In(i)
		if f.Variadic && i == t.NumIn()-1 {
			in = in.Elem()
		}
		f.In = append(f.In, strings.ReplaceAll(in.String(), "interface {}", "any"))
	}
	return f
}
