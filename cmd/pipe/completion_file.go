package main

import (
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"pipe/internal/document"
	"pipe/pipeline"
	"pipe/stages"
)

// read reads the pipeline file that was named, or else the only one, or else that of
// the newest run. nil if there is none that can be read.
func (l *completion) read() *pipeline.File {
	path := l.file
	if path == "" {
		var err error
		if path, err = onlyPipeline(); err != nil {
			past := l.newest()
			if past == nil {
				return nil
			}
			if path = past.Start.File; !filepath.IsAbs(path) {
				path = filepath.Join(past.Start.Dir, path)
			}
		}
	}
	f, err := pipeline.Read(path)
	if err != nil {
		return nil
	}
	return f
}

// plan is the file's plan; nil if the file has mistakes.
func (l *completion) plan() *pipeline.Plan {
	f := l.read()
	if f == nil {
		return nil
	}
	plan, err := f.Resolve(l.app.kinds, pipeline.Options{})
	if err != nil {
		return nil
	}
	return plan
}

func (l *completion) stages() []candidate {
	f := l.read()
	if f == nil {
		return nil
	}
	plan := l.plan()
	var list []candidate
	for _, name := range f.Stages() {
		if plan == nil {
			list = append(list, candidate{word: name})
			continue
		}
		steps, _ := plan.Select(name) // the file's stages are the plan's
		list = append(list, candidate{name, steps[0].Kind.Summary})
		if steps[0].Matrix != nil && strings.HasPrefix(l.last, name) {
			for _, s := range steps {
				list = append(list, candidate{word: s.Name})
			}
		}
	}
	return list
}

// ports lists the outputs of the file's stages as STAGE.PORT.
func (l *completion) ports() []candidate {
	plan := l.plan()
	if plan == nil {
		return nil
	}
	var list []candidate
	for _, s := range plan.Steps {
		for _, o := range s.Outputs {
			list = append(list, candidate{s.Name + "." + o.Name, o.Help})
		}
	}
	return list
}

// profiles lists the profiles, behind those that are typed already: "a,".
func (l *completion) profiles(typed string) []candidate {
	f := l.read()
	if f == nil {
		return nil
	}
	before := typed[:strings.LastIndexByte(typed, ',')+1]
	var list []candidate
	if before == "" {
		list = append(list, candidate{pipeline.DefaultProfile, "the file as it stands"})
	}
	for _, name := range f.Profiles() {
		list = append(list, candidate{word: before + name})
	}
	return list
}

// settings lists what --set takes, one step at a time: "train-qlora.", "train-qlora.rank=",
// "train-qlora.schedule=linear".
func (l *completion) settings(typed string) []candidate {
	f, plan := l.read(), l.plan()
	if f == nil {
		return nil
	}
	if key, value, given := strings.Cut(typed, "="); given {
		return l.settingValues(plan, key, value)
	}
	var list []candidate
	stage, rest, inside := strings.Cut(typed, ".")
	switch {
	case !inside:
		for _, name := range append([]string{"params"}, f.Stages()...) {
			list = append(list, candidate{word: name + "."})
		}
	case stage == "params":
		for _, name := range f.Params() {
			list = append(list, candidate{word: "params." + name + "="})
		}
	case kindOf(plan, stage) != nil:
		before, fields := fieldsAt(kindOf(plan, stage).Fields(), rest)
		for _, field := range fields {
			end := "="
			if field.Type.Kind() == reflect.Struct {
				end = "."
			}
			list = append(list, candidate{stage + "." + before + field.Name + end, field.Help})
		}
	}
	return list
}

// kindOf is the kind of a stage of the file, or nil.
func kindOf(plan *pipeline.Plan, stage string) *stages.Kind {
	if plan == nil {
		return nil
	}
	steps, err := plan.Select(stage)
	if err != nil {
		return nil
	}
	return steps[0].Kind
}

// fieldsAt goes down into nested parameters as far as the dots of a name lead.
func fieldsAt(fields []document.Field, name string) (before string, at []document.Field) {
	for {
		first, rest, inside := strings.Cut(name, ".")
		i := slices.IndexFunc(fields, func(f document.Field) bool { return f.Name == first })
		if !inside || i < 0 || fields[i].Type.Kind() != reflect.Struct {
			return before, fields
		}
		before, name, fields = before+first+".", rest, document.Describe(fields[i].Type)
	}
}

// settingValues lists the values of a parameter that has few, and files for one of the
// pipeline's own.
func (l *completion) settingValues(plan *pipeline.Plan, key, value string) []candidate {
	var list []candidate
	stage, name, _ := strings.Cut(key, ".")
	if stage == "params" {
		list = paths(value, func(string) bool { return true })
	} else if kindOf(plan, stage) != nil {
		before, fields := fieldsAt(kindOf(plan, stage).Fields(), name)
		for _, f := range fields {
			if before+f.Name != name {
				continue
			}
			choices := f.Enum
			if f.Type.Kind() == reflect.Bool {
				choices = []string{"true", "false"}
			}
			for _, choice := range choices {
				list = append(list, candidate{word: choice})
			}
		}
	}
	for i := range list {
		list[i].word = key + "=" + list[i].word
	}
	return list
}
