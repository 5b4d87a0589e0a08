package pipe

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// DO NOT CHANGE THIS TABLE TO MAKE THE TEST PASS. It says which package may import
// which; a new arrow needs a reason that belongs into ARCHITECTURE.md.
//
// A name that ends in /… stands for everything below it. Test files and packages
// whose name ends in "test" may import anything but cmd/pipe.
var layers = []struct {
	pkg  string
	uses []string
}{
	// At the bottom: what knows nothing of pipelines or models.
	{"internal/problem", nil},
	{"internal/faultfs", nil},
	{"internal/atomicfile", []string{"internal/faultfs"}},
	{"internal/manifest", []string{"internal/faultfs"}},
	{"internal/metrics", nil},
	{"internal/linediff", nil},
	{"internal/logging", nil},
	{"internal/redact", nil},
	{"internal/procgroup", nil},
	{"internal/program", nil},
	{"internal/ordered", nil},
	{"internal/document", []string{"internal/problem"}},
	{"internal/stagename", []string{"internal/document"}},
	{"internal/jsonfile", []string{"internal/problem"}},
	{"internal/cron", []string{"internal/problem"}},
	{"internal/schedule", []string{"internal/cron"}},
	{"internal/layered", nil},

	// What stages compute with.
	{"runtime/ops", nil},
	{"runtime/safetensors", []string{"internal/…"}},
	{"runtime/tokenizer", []string{"internal/…"}},
	{"runtime/chat", []string{"internal/…", "runtime/tokenizer"}},
	{"runtime/tokens", []string{"internal/…", "runtime/safetensors"}},
	{"runtime/nf4", []string{"internal/…", "runtime/ops", "runtime/safetensors"}},
	{"runtime/cpu", []string{"runtime/ops"}},
	{"runtime/optim", []string{"runtime/ops"}},
	{"runtime/lora", []string{"internal/…", "runtime/ops", "runtime/safetensors"}},
	{"runtime/mistral", []string{"internal/…", "runtime/ops", "runtime/safetensors", "runtime/nf4", "runtime/lora"}},
	{"runtime/train", []string{"runtime/ops", "runtime/optim", "runtime/lora", "runtime/mistral"}},
	{"runtime/generate", []string{"runtime/lora", "runtime/mistral"}},
	{"runtime/eval", []string{"internal/…"}},
	{"runtime/tfevents", []string{"internal/metrics"}},

	// The contract, and the store. Neither knows the other.
	{"stages", []string{"internal/document", "internal/problem"}},
	{"cache", []string{"internal/…"}},

	// The kinds know the contract and what they compute with; no kind knows another.
	{"stages/builtin", []string{"stages", "stages/…"}},
	{"stages/command", []string{"stages", "internal/document", "internal/procgroup", "internal/program"}},
	{"stages/*", []string{"stages", "internal/…", "runtime/…"}},

	// The declarative half, and what executes it. Neither knows a kind or a model.
	{"pipeline", []string{"stages", "internal/…"}},
	{"pipeline/source", []string{"cache", "internal/…"}},
	{"pipeline/runner", []string{"pipeline", "pipeline/source", "stages", "cache", "internal/…"}},

	{"pipeline/drawing", []string{"pipeline", "internal/…"}},
	{"pipeline/explain", []string{"pipeline/runner", "stages", "cache", "internal/…"}},

	// Embedded files.
	{"models", nil},
	{"data", nil},
	{"pipelines", nil},

	// At the top: everything meets here and nowhere else.
	{"cmd/pipe", []string{"internal/…", "runtime/…", "stages/…", "stages", "pipeline/…", "pipeline", "cache", "models", "data", "pipelines"}},
}

// outside lists which packages may import a library.
var outside = map[string][]string{
	"github.com/goccy/go-yaml":        {"internal/document"},
	"github.com/dominikbraun/graph":   {"pipeline"},
	"github.com/hashicorp/go-hclog":   {"internal/logging"},
	"github.com/klauspost/compress":   {"cache"},
	"github.com/alecthomas/kong":      {"cmd/pipe"},
	"github.com/charmbracelet/x/ansi": {"cmd/pipe"},
	"golang.org/x/term":               {"cmd/pipe"},
	"golang.org/x/sys":                {"cmd/pipe", "cache", "pipeline/runner", "runtime/safetensors", "runtime/cpu"},
	"gorgonia.org/cu":                 {},
	"github.com/rogpeppe/go-internal": {},
	"pgregory.net/rapid":              {},
}

func TestImportsPointDown(t *testing.T) {
	found := 0
	err := filepath.WalkDir(".", func(file string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			if name := e.Name(); name != "." && (strings.HasPrefix(name, ".") || name == "testdata" || name == "asmgen") {
				return filepath.SkipDir
			}
			return nil
		}
		pkg := path.Dir(filepath.ToSlash(file))
		if !strings.HasSuffix(file, ".go") || pkg == "." || strings.HasSuffix(file, "_test.go") || strings.HasSuffix(pkg, "test") || pkg == "internal/golden" {
			return nil
		}
		found++
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range f.Imports {
			name, _ := strconv.Unquote(spec.Path.Value)
			if own, ok := strings.CutPrefix(name, "pipe/"); ok {
				if !mayUse(t, pkg, own) {
					t.Errorf("%s: %s must not import %s", file, pkg, own)
				}
			} else if strings.Contains(name, ".") && !mayUseOutside(pkg, name) {
				t.Errorf("%s: %s must not import %s", file, pkg, name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found < 100 {
		t.Errorf("looked at %d files only", found)
	}
}

func mayUse(t *testing.T, pkg, other string) bool {
	for _, l := range layers {
		if ok, _ := path.Match(l.pkg, pkg); ok {
			return slices.ContainsFunc(l.uses, func(use string) bool {
				below, all := strings.CutSuffix(use, "/…")
				return use == other || all && strings.HasPrefix(other, below+"/")
			})
		}
	}
	t.Errorf("package %s is not in the table", pkg)
	return true
}

func mayUseOutside(pkg, name string) bool {
	for library, users := range outside {
		if name == library || strings.HasPrefix(name, library+"/") {
			return slices.Contains(users, pkg)
		}
	}
	return false
}
