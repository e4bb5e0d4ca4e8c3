package main

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// typed is a Go value that keeps its type when it is encoded as JSON. Exactly one field is set, or none for nil.
type typed struct {
	Bool   *bool     `json:"bool,omitempty"`
	Int    *int64    `json:"int,omitempty"`
	Int64  *int64    `json:"int64,omitempty"`
	Uint64 *uint64   `json:"uint64,omitempty"`
	Float  string    `json:"float,omitempty"` // the bits in hexadecimal
	String *[]byte   `json:"string,omitempty"`
	Bytes  *[]byte   `json:"bytes,omitempty"`
	List   *[]*typed `json:"list,omitempty"`
	Maps   *[]*typed `json:"maps,omitempty"` // a []map[string]interface{}
	Map    *[]entry  `json:"map,omitempty"`
	Nil    string    `json:"nil,omitempty"` // "list" or "map"
	Time   string    `json:"time,omitempty"`
}

type entry struct {
	Key   []byte `json:"key"`
	Value *typed `json:"value"`
}

func (t *typed) value() any {
	switch {
	case t == nil:
		return nil
	case t.Bool != nil:
		return *t.Bool
	case t.Int != nil:
		return int(*t.Int)
	case t.Int64 != nil:
		return *t.Int64
	case t.Uint64 != nil:
		return *t.Uint64
	case t.Float != "":
		bits, err := strconv.ParseUint(t.Float, 16, 64)
		if err != nil {
			panic(err)
		}
		return math.Float64frombits(bits)
	case t.String != nil:
		return string(*t.String)
	case t.Bytes != nil:
		return *t.Bytes
	case t.List != nil:
		list := make([]any, len(*t.List))
		for i, item := range *t.List {
			list[i] = item.value()
		}
		return list
	case t.Maps != nil:
		list := make([]map[string]any, len(*t.Maps))
		for i, item := range *t.Maps {
			list[i] = item.value().(map[string]any)
		}
		return list
	case t.Map != nil:
		m := make(map[string]any, len(*t.Map))
		for _, e := range *t.Map {
			m[string(e.Key)] = e.Value.value()
		}
		return m
	case t.Nil == "list":
		return []any(nil)
	case t.Nil == "map":
		return map[string]any(nil)
	}
	return nil
}

func wrap(value any) *typed {
	switch value := value.(type) {
	case nil:
		return nil
	case bool:
		return &typed{Bool: &value}
	case int64:
		return &typed{Int64: &value}
	case float64:
		return &typed{Float: fmt.Sprintf("%016x", math.Float64bits(value))}
	case string:
		bytes := []byte(value)
		return &typed{String: &bytes}
	case time.Time:
		return &typed{Time: value.Format(time.RFC3339Nano) + " " + value.Location().String()}
	case []any:
		if value == nil {
			return &typed{Nil: "list"}
		}
		list := make([]*typed, len(value))
		for i, item := range value {
			list[i] = wrap(item)
		}
		return &typed{List: &list}
	case []map[string]any:
		list := make([]*typed, len(value))
		for i, item := range value {
			list[i] = wrap(item)
		}
		return &typed{Maps: &list}
	case map[string]any:
		if value == nil {
			return &typed{Nil: "map"}
		}
		entries := make([]entry, 0, len(value))
		for key, item := range value {
			entries = append(entries, entry{[]byte(key), wrap(item)})
		}
		return &typed{Map: &entries}
	}
	panic(fmt.Sprintf("a value of type %T", value))
}
