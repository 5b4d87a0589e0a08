package faultfs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// through lists what goes through the seam: what is not seen there is not tried under
// faults.
var through = []string{
	"cache/*.go", "internal/atomicfile/*.go", "internal/manifest/*.go",
	"pipeline/runner/place.go", "pipeline/runner/publish.go", "pipeline/runner/promote.go", "pipeline/runner/rollback.go",
	"pipeline/runner/ledger.go", "pipeline/runner/history.go", "pipeline/runner/state.go", "pipeline/runner/step.go",
}

// seamed are functions of package os that this package has, too.
var seamed = map[string]bool{
	"Stat": true, "Lstat": true, "ReadDir": true, "ReadFile": true, "Readlink": true, "Mkdir": true, "MkdirAll": true, "MkdirTemp": true,
	"Remove": true, "RemoveAll": true, "Rename": true, "Link": true, "Symlink": true, "Chmod": true, "CreateTemp": true, "WriteFile": true,
	"Open": true, "OpenFile": true, "Create": true,
}

func TestTheStoreGoesThroughTheSeam(t *testing.T) {
	for _, pattern := range through {
		files, err := filepath.Glob(filepath.Join("..", "..", pattern))
		if err != nil || len(files) == 0 {
			t.Errorf("%s: no files (%v)", pattern, err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			set := token.NewFileSet()
			f, err := parser.ParseFile(set, file, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(f, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok {
					if pkg, ok := s.X.(*ast.Ident); ok && pkg.Name == "os" && seamed[s.Sel.Name] {
						t.Errorf("%s: os.%s: say faultfs.%s, which tests can make fail", set.Position(s.Pos()), s.Sel.Name, s.Sel.Name)
					}
				}
				return true
			})
		}
	}
}
