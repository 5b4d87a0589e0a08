package document

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"
)

// Field is one key that a struct reads, as its tags declare it:
//
//	yaml:"name"      the key; a field without it is not read
//	help:"…"         one line
//	default:"…"      the value when the key is absent, in YAML
//	required:"true"  the key must be there
//	min:"0" max:"1"  bounds of a number, inclusive; above:"0" exclusive
//	enum:"a|b|c"     the strings that are allowed
//
// Types: bool, int, int64, float64, string, time.Duration (1h30m), slices and
// arrays of these, maps from string, structs, and pointers for what may be
// absent without a default. Node reads anything.
type Field struct {
	Name     string
	Help     string
	Default  string
	HasValue bool // Default is set
	Required bool
	Min, Max string
	Above    string
	Enum     []string
	Type     reflect.Type
	Tag      reflect.StructTag
	Index    int
}

// described holds what Describe found: a plan asks for the same types for each of its
// stages.
var described sync.Map // reflect.Type to []Field

// Describe lists the fields of a struct type in order of declaration. It panics
// on a tag that makes no sense, which is a bug of the declaring package. The list is
// shared and must not be changed.
func Describe(t reflect.Type) []Field {
	if known, ok := described.Load(t); ok {
		return known.([]Field)
	}
	fields := describe(t)
	described.Store(t, fields)
	return fields
}

func describe(t reflect.Type) []Field {
	var fields []Field
	for i := range t.NumField() {
		sf := t.Field(i)
		name, ok := sf.Tag.Lookup("yaml")
		if !ok {
			continue
		}
		f := Field{Name: name, Help: sf.Tag.Get("help"), Type: sf.Type, Tag: sf.Tag, Index: i,
			Min: sf.Tag.Get("min"), Max: sf.Tag.Get("max"), Above: sf.Tag.Get("above"), Required: sf.Tag.Get("required") == "true"}
		f.Default, f.HasValue = sf.Tag.Lookup("default")
		if enum := sf.Tag.Get("enum"); enum != "" {
			f.Enum = strings.Split(enum, "|")
		}
		fields = append(fields, f)
	}
	return fields
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	nodeType     = reflect.TypeFor[*Node]()
)

// TypeName is how a field's type is called in documentation.
func TypeName(t reflect.Type) string {
	switch {
	case t == durationType:
		return "duration"
	case t == nodeType:
		return "any"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return TypeName(t.Elem())
	case reflect.Int, reflect.Int64, reflect.Uint64:
		return "whole number"
	case reflect.Float64, reflect.Float32:
		return "number"
	case reflect.Bool:
		return "boolean"
	case reflect.String:
		return "string"
	case reflect.Slice:
		return "list of " + TypeName(t.Elem())
	case reflect.Array:
		return fmt.Sprintf("%d × %s", t.Len(), TypeName(t.Elem()))
	case reflect.Map:
		return "map of " + TypeName(t.Elem())
	}
	return "map"
}
