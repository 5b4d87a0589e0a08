// Package pipeline is the declarative half of pipe: it turns a pipeline file into
// a Plan.
//
// A File is the YAML after parsing. A profile is a set of changes to it; without
// one the file stands as it is, and the profile is called "default". Resolving a
// File for a profile binds every stage to its kind, decodes its parameters,
// follows its references and orders the whole: a Plan, which never changes
// afterwards. Nothing is read but the file itself, and nothing is run.
//
// (The folder pipelines/, with an s, holds YAML files.)
package pipeline
