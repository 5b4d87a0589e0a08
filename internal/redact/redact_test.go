package redact

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"
)

// ways are encodings that a program may print a secret in, within other text.
var ways = map[string]func(s string) string{
	"raw":             func(s string) string { return s },
	"json":            func(s string) string { b, _ := json.Marshal("x" + s + "y"); return string(b) },
	"query":           url.QueryEscape,
	"path":            url.PathEscape,
	"percent":         func(s string) string { return percent(s, "%%%02x") },
	"hex":             func(s string) string { return hex.EncodeToString([]byte(s)) },
	"HEX":             func(s string) string { return strings.ToUpper(hex.EncodeToString([]byte(s))) },
	"hex dump":        func(s string) string { return fmt.Sprintf("% x", s) },
	"base64":          func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
	"base64 raw":      func(s string) string { return base64.RawStdEncoding.EncodeToString([]byte(s)) },
	"base64 url":      func(s string) string { return base64.URLEncoding.EncodeToString([]byte(s)) },
	"base64 raw url":  func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) },
	"base64 second":   func(s string) string { return base64.StdEncoding.EncodeToString([]byte("u" + s + "zz")) },
	"base64 third":    func(s string) string { return base64.URLEncoding.EncodeToString([]byte("us" + s)) },
	"base64 wrapped":  func(s string) string { return wrap(base64.StdEncoding.EncodeToString([]byte("user:"+s)), "\n") },
	"base64 in JSON":  func(s string) string { return wrap(base64.StdEncoding.EncodeToString([]byte(s)), `\n`) },
	"carriage return": func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") },
}

func wrap(s, end string) string {
	var b strings.Builder
	for len(s) > 16 {
		b.WriteString(s[:16] + end)
		s = s[16:]
	}
	return b.String() + s
}

// core is what of an encoding depends on the secret alone, as the mask must have
// removed it: the text without its first and last few letters.
func core(s string) string {
	if len(s) <= 12 {
		return s
	}
	return s[3 : len(s)-4]
}

func TestEveryFormIsHidden(t *testing.T) {
	for _, secret := range []string{"hunter", "p@ss w/rd+\"quoted\\\" 'it' <&>", "äöü€𝄞 \t~%25%25", "%25%25%2525", "line one\nline two is \"longer\"\n}\n", "AAAAAAAAAAAAAAAAAAAA", "\xff\xfe\xfd not text \x80"} {
		m := New([]string{secret, "another secret"})
		for name, encode := range ways {
			if name == "json" && secret[0] == 0xff {
				continue // JSON cannot hold it
			}
			said := encode(strings.TrimSpace(secret))
			got := m.Text("before " + said + " after")
			if strings.Contains(got, core(said)) || !strings.Contains(got, Hidden) {
				t.Errorf("%q as %s: %q", secret, name, got)
			}
			if !strings.HasPrefix(got, "before ") || !strings.HasSuffix(got, " after") {
				t.Errorf("%q as %s: what stands around is gone: %q", secret, name, got)
			}
		}
	}
}

func TestLinesAreHiddenOneByOne(t *testing.T) {
	m := New([]string{"-----BEGIN KEY-----\r\nMIIEvQIBADANBgkq\r\nab\r\n-----END KEY-----\n"})
	if got, want := m.Text("a MIIEvQIBADANBgkq b\nab"), "a *** b\nab"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestOtherTextStays(t *testing.T) {
	m := New([]string{"hunter2hunter2", "s3cret-value"})
	text := "hunter2 hunter1hunter2 s3cret value aHVudGVy 68756e746572 %68 \\u0068 hunter2hunter"
	var b bytes.Buffer
	w := m.Writer(&b)
	for i := range len(text) {
		w.Write([]byte{text[i]})
	}
	w.Close()
	if m.Text(text) != text || b.String() != text {
		t.Errorf("got %q and %q", m.Text(text), b.String())
	}
}

func TestPiecesAreHiddenLikeTheWhole(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		secret := randomSecret(random)
		m := New([]string{secret})
		var said strings.Builder
		for _, encode := range ways {
			said.WriteString(encode(secret) + "|" + secret[:len(secret)-1] + "|")
		}
		var b bytes.Buffer
		w := m.Writer(&b)
		for rest := []byte(said.String()); len(rest) > 0; {
			n := 1 + random.IntN(min(9, len(rest)))
			if n > len(rest) {
				n = len(rest)
			}
			w.Write(rest[:n])
			rest = rest[n:]
		}
		w.Close()
		if want := m.Text(said.String()); b.String() != want {
			t.Fatalf("%q: in pieces %q, whole %q", secret, b.String(), want)
		}
	}
}

func randomSecret(random *rand.Rand) string {
	const letters = "abcXYZ0189+/=_-%\"'\\ $`{}<>&#é€\n"
	runes := []rune(letters)
	var b strings.Builder
	b.WriteString("k")
	for range 6 + random.IntN(40) {
		b.WriteRune(runes[random.IntN(len(runes))])
	}
	return b.String() + "k"
}

func TestShortSecretsAreRefusedWithoutSayingThem(t *testing.T) {
	for _, secret := range []string{"", "abcde", "  abc  ", "ab\ncd\nef"} {
		err := Check(secret)
		if err == nil || len(secret) > 4 && strings.Contains(err.Error(), strings.TrimSpace(secret)) {
			t.Errorf("%q: got %v", secret, err)
		}
	}
	for _, secret := range []string{"abcdef", "äöüäöü", "ab\nabcdef\n"} {
		if err := Check(secret); err != nil {
			t.Errorf("%q: %v", secret, err)
		}
	}
}

func TestNoSecretsHideNothing(t *testing.T) {
	m := New(nil)
	var b bytes.Buffer
	w := m.Writer(&b)
	w.Write([]byte("text"))
	w.Close()
	if m != nil || m.Text("text") != "text" || b.String() != "text" {
		t.Error("it does")
	}
}

func FuzzWriter(f *testing.F) {
	f.Add([]byte("the hunter2 \\u0068unter2 aHVudGVyMg=="), "hunter2", 3)
	f.Add([]byte("%25%25%2525 %25"), "%25%25", 1)
	f.Fuzz(func(t *testing.T, text []byte, secret string, cut int) {
		if len(secret) > 200 || len(text) > 4000 {
			return
		}
		m := New([]string{secret})
		want := m.Text(string(text))
		if Check(secret) == nil && !strings.Contains(secret, "*") && strings.Contains(want, secret) {
			t.Fatalf("%q holds %q", want, secret)
		}
		var b bytes.Buffer
		w := m.Writer(&b)
		cut = max(0, min(cut, len(text)))
		w.Write(text[:cut])
		w.Write(text[cut:])
		w.Close()
		if b.String() != want {
			t.Fatalf("cut at %d: %q, whole: %q", cut, b.String(), want)
		}
	})
}

func BenchmarkWriter(b *testing.B) {
	m := New([]string{"ghp_abcdefghijklmnopqrstuvwxyz0123456789", "hunter2hunter2"})
	text := []byte(strings.Repeat("step 45 of 225, loss 0.31, 9,120 tokens/s and a longer line of text\n", 1000))
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	w := m.Writer(&bytes.Buffer{})
	for b.Loop() {
		w.(*writer).to = &bytes.Buffer{}
		w.Write(text)
	}
}
