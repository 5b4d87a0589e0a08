package main

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pipe/cache"
)

// sayings are the ways in which a program may print a secret.
func sayings(secret string) []string {
	quoted, _ := json.Marshal(secret)
	double := func(prefix string) string { return prefix + secret + "zz" }
	all := []string{
		secret, string(quoted), url.QueryEscape(secret), url.PathEscape(secret), percentAll(secret),
		hex.EncodeToString([]byte(secret)), strings.ToUpper(hex.EncodeToString([]byte(secret))),
	}
	for _, e := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding, base64.RawStdEncoding, base64.RawURLEncoding} {
		for _, text := range []string{secret, double("u"), double("us"), double("usr")} {
			all = append(all, e.EncodeToString([]byte(text)))
		}
	}
	return append(all, strings.Split(secret, "\n")...)
}

func percentAll(s string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, "%%%02x", s[i])
	}
	return b.String()
}

// traces are what must not be found of a secret: its sayings, less the letters of
// base64 that depend on what stands beside it.
func traces(secret string) []string {
	quoted, _ := json.Marshal(secret)
	all := []string{secret, string(quoted[1 : len(quoted)-1]), url.QueryEscape(secret), url.PathEscape(secret), percentAll(secret),
		hex.EncodeToString([]byte(secret)), strings.ToUpper(hex.EncodeToString([]byte(secret)))}
	for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for before := range 3 {
			one := e.EncodeToString([]byte(strings.Repeat("\x00", before) + secret + "\x00\x00"))
			other := e.EncodeToString([]byte(strings.Repeat("\xff", before) + secret + "\xff\xff"))
			first, end := 0, len(one)
			for one[first] != other[first] || first < before {
				first++
			}
			for one[end-1] != other[end-1] {
				end--
			}
			all = append(all, one[first:end])
		}
	}
	for line := range strings.SplitSeq(secret, "\n") {
		if len([]rune(line)) >= 6 {
			all = append(all, line)
		}
	}
	return all
}

// randomSecrets are tokens, passwords, texts and keys of several lines.
func randomSecrets(n int) []string {
	random := rand.New(rand.NewPCG(4, 2026))
	alphabets := []string{"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", "0123456789abcdef", "abc XYZ019+/=_-%\"'\\$`{}<>&#?*;|~!@^()[]:,.", "äöüßéñ漢字€𝄞кл abc\"\\"}
	secrets := make([]string, n)
	for i := range secrets {
		letters := []rune(alphabets[i%len(alphabets)])
		var b strings.Builder
		lines := 1
		if i%10 == 9 {
			lines = 2 + random.IntN(4)
		}
		for line := range lines {
			if line > 0 {
				b.WriteByte('\n')
			}
			b.WriteByte("kqxz"[random.IntN(4)])
			for range 9 + random.IntN(50) {
				b.WriteRune(letters[random.IntN(len(letters))])
			}
			b.WriteByte("kqxz"[random.IntN(4)])
		}
		secrets[i] = b.String()
	}
	return secrets
}

// index finds any of many texts in a long one.
type index map[string][]string // by the first bytes

const indexed = 6

func newIndex(secrets []string) index {
	x := index{}
	for _, s := range secrets {
		for _, text := range traces(s) {
			x[text[:indexed]] = append(x[text[:indexed]], text)
		}
	}
	return x
}

func (x index) find(text string) string {
	for at := 0; at+indexed <= len(text); at++ {
		for _, needle := range x[text[at:at+indexed]] {
			if strings.HasPrefix(text[at:], needle) {
				return needle
			}
		}
	}
	return ""
}

// TestNoSecretIsEverWritten has programs say a thousand secrets in every form, in
// pieces, and looks for them in all that a run prints and keeps.
func TestNoSecretIsEverWritten(t *testing.T) {
	const stagesOf, each = 5, 200
	secrets := randomSecrets(stagesOf * each)
	dir := t.TempDir()
	var vars []string
	var file strings.Builder
	file.WriteString("pipeline: secrets\nstages:\n")
	for i := range stagesOf {
		var names []string
		for j := range each {
			name := fmt.Sprintf("SECRET_%d_%d", i, j)
			names = append(names, name)
			vars = append(vars, name+"="+secrets[i*each+j])
		}
		status := i % 2
		fmt.Fprintf(&file, "  s%d: { uses: command, out: [x], retries: { max: %d, backoff: 0 }, secrets: [%s], with: { argv: [blab, %d, %d, '${out.x}'] }, publish: { x: pub/x%d } }\n",
			i, status, strings.Join(names, ", "), i, status, i)
	}
	write(t, filepath.Join(dir, "p.yaml"), file.String())
	found := newIndex(secrets)
	if found.find("x"+sayings(secrets[3])[10]) == "" || found.find(sayings(secrets[2])[1]) == "" {
		t.Fatal("the search itself finds nothing")
	}
	said := 0
	for _, args := range [][]string{{"run", "p.yaml"}, {"run", "--json", "p.yaml"}, {"log", "s0"}, {"run", "--dry-run", "p.yaml"}, {"status", "p.yaml"}} {
		stdout, stderr, _ := execute(t, dir, vars, "pipe", args...)
		said += strings.Count(stdout, "***")
		for name, text := range map[string]string{"stdout": stdout, "stderr": stderr} {
			if s := found.find(text); s != "" {
				t.Errorf("pipe %v: %s holds %q", args, name, s)
			}
		}
	}
	if said < 10*len(secrets) {
		t.Errorf("%d secrets were hidden, want %d or more", said, 10*len(secrets))
	}
	files := 0
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		files++
		b, err := os.ReadFile(path)
		if plain, zerr := cache.Decompress(b); zerr == nil {
			b = plain
		}
		if s := found.find(path + "\x00" + string(b)); s != "" {
			t.Errorf("%s holds %q", path, s)
		}
		return err
	})
	if err != nil || files < 10 {
		t.Errorf("looked at %d files: %v", files, err)
	}
}
