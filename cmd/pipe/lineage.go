package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"

	"pipe/cache"
	"pipe/internal/manifest"
	"pipe/pipeline/explain"
	"pipe/pipeline/runner"
)

type lineageCommand struct {
	storeFlag
	Path string `arg:"" help:"A published path, a ledger, a file or folder that pipe get wrote, or a digest."`
	JSON bool   `name:"json" help:"Print the lineage as one JSON object."`
}

// Run is called by kong.
func (c *lineageCommand) Run(a *app) error {
	store, err := c.theStore()
	if err != nil {
		return err
	}
	published, err := identify(store, c.Path)
	if err != nil {
		return err
	}
	digest, err := manifest.ParseDigest(published.Digest)
	if err != nil {
		return err
	}
	l, err := (&explain.Explainer{Store: store, Kinds: a.kinds}).Trace(digest, published.Key)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Path, err)
	}
	if c.JSON {
		return printJSON(a.stdout, l)
	}
	fmt.Fprintf(a.stdout, "%s is %s\ndigest %s\n", c.Path, l.Output, l.Digest)
	if published.Run != "" {
		fmt.Fprintf(a.stdout, "published on %s by run %s\n", published.Time.Local().Format("2006-01-02 15:04:05"), published.Run)
	}
	return printLineage(a.stdout, l)
}

var digestText = regexp.MustCompile(`^[0-9a-f]{64}$`)

// identify finds the digest of what a path names and, from the ledger beside a
// published path, the record that made it.
func identify(store *cache.Store, path string) (runner.Publication, error) {
	var none runner.Publication
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && digestText.MatchString(path):
		return runner.Publication{Digest: path}, nil
	case errors.Is(err, fs.ErrNotExist):
		return none, usageError{fmt.Errorf("there is no file or folder %s, and it is no digest of 64 hexadecimal digits", path)}
	case err != nil:
		return none, err
	case info.Mode().IsRegular() && strings.HasSuffix(path, ".jsonl"):
		if p, ok := runner.LastPublication(path); ok {
			return p, nil
		}
	}
	pin, err := store.PinPath(context.Background(), path, nil)
	if err != nil {
		return none, err
	}
	return runner.PublicationOf(path, pin.Object.Digest.String()), nil
}

func paramText(v any) string {
	if n, ok := v.(int64); ok {
		return runner.ShowValue(n, false) // it may be a duration
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}

func printLineage(out io.Writer, l *explain.Lineage) error {
	fmt.Fprint(out, "\nmade by\n")
	for _, m := range l.Made {
		how := []string{m.Time.Local().Format("2006-01-02 15:04:05"), seconds(m.Seconds), "pipe " + m.Pipe}
		if m.Tier != "" {
			how = append(how, "CPU tier "+m.Tier)
		}
		if m.StoppedBy != "" {
			how = append(how, "stopped by "+m.StoppedBy)
		}
		fmt.Fprintf(out, "  %s  (%s, version %s)  %s\n", m.Stage, m.Kind, m.Version, printable(strings.Join(how, ", ")))
		for _, port := range slices.Sorted(maps.Keys(m.Inputs)) {
			fmt.Fprintf(out, "    %s: %s\n", port, printable(m.Inputs[port]))
		}
	}
	fmt.Fprint(out, "\nfrom\n")
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, s := range l.From {
		source := s.Source
		if source == "" {
			source = "unknown"
		}
		what := []string{map[cache.ObjectKind]string{cache.File: "file", cache.Tree: "folder"}[s.Content.Kind], count(float64(s.Content.Size)) + " bytes"}
		if s.Records > 0 {
			what[0] = plural(s.Records, "record")
		}
		if s.Files > 0 {
			what[0] = plural(s.Files, "file")
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\n", printable(source), strings.Join(what, ", "), s.Content.Digest.Short(), strings.Join(s.Ports, ", "))
	}
	t.Flush()
	fmt.Fprint(out, "\nparameters that are not at their default\n")
	for _, m := range l.Made {
		for _, name := range slices.Sorted(maps.Keys(m.Params)) {
			fmt.Fprintf(t, "  %s.%s\t%s\n", m.Stage, name, printable(cut(paramText(m.Params[name]), 0, excerptRunes)))
		}
	}
	return t.Flush()
}
