package redact

import (
	"encoding/base64"
	"fmt"
	"html"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// forms are the ways in which programs print a text.
func forms(text string) []form {
	all := []form{escaped(text), hexadecimal(text)}
	for alignment := range 3 {
		if f := base64At(text, alignment); len(f) >= MinLength {
			all = append(all, f)
		}
	}
	return all
}

// escaped is the text with each character plain or escaped for JSON, a URL, HTML or
// a shell.
func escaped(text string) form {
	var f form
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		plain := text[:size]
		text = text[size:]
		f = append(f, distinct(append([]string{plain, percent(plain, "%%%02X"), percent(plain, "%%%02x")}, escapes(r, size)...)))
	}
	return f
}

func percent(s, format string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, format, s[i])
	}
	return b.String()
}

// shortEscapes are what JSON, and most languages, write for a character.
var shortEscapes = map[rune][]string{
	'\n': {`\n`, "\r\n", `\r\n`, "%0D%0A", "%0d%0a"},
	'\r': {`\r`}, '\t': {`\t`}, '\b': {`\b`}, '\f': {`\f`},
	'"': {`\"`}, '\\': {`\\`}, '/': {`\/`}, ' ': {"+"}, '\'': {`'\''`, `\'`},
}

func escapes(r rune, size int) []string {
	if r == utf8.RuneError && size == 1 {
		return nil // a byte that is no text
	}
	units := utf16.Encode([]rune{r})
	var lower, upper strings.Builder
	for _, u := range units {
		fmt.Fprintf(&lower, `\u%04x`, u)
		fmt.Fprintf(&upper, `\u%04X`, u)
	}
	all := append([]string{lower.String(), upper.String()}, shortEscapes[r]...)
	all = append(all, html.EscapeString(string(r)))
	// What Python, PHP, JavaScript and XML tools write for it.
	return append(all, entities[r]...)
}

// entities are the names and numbers of characters in HTML and XML that Go's own
// escaping does not use.
var entities = map[rune][]string{
	'"': {"&quot;", "&#x22;"}, '\'': {"&apos;", "&#x27;", "&#039;"}, '&': {"&#38;", "&#x26;"},
	'<': {"&#60;", "&#x3c;", "&#x3C;"}, '>': {"&#62;", "&#x3e;", "&#x3E;"}, '/': {"&#x2F;", "&#x2f;", "&#47;"}, '`': {"&#x60;", "&#96;"}, '=': {"&#x3D;", "&#x3d;", "&#61;"}, '+': {"&#43;", "&#x2B;"},
}

// breaks may stand between the letters of an encoding that is wrapped.
var breaks = []string{"", "\n", "\r\n", `\n`}

// base64At is the part of the base64 of any text that holds the given one, at a
// distance of alignment bytes from a multiple of three, which depends on it alone.
func base64At(text string, alignment int) form {
	padded := append(make([]byte, alignment), text...)
	first, end := (8*alignment+5)/6, 8*len(padded)/6
	letters := base64.RawStdEncoding.EncodeToString(padded)[first:end]
	var f form
	for i := range len(letters) {
		var element []string
		for _, letter := range letterForms(letters[i : i+1]) {
			element = append(element, letter)
			if i > 0 {
				for _, b := range breaks[1:] {
					element = append(element, b+letter)
				}
			}
		}
		f = append(f, element)
	}
	return f
}

func letterForms(letter string) []string {
	switch letter {
	case "+":
		return []string{"+", "-", "%2B", "%2b"}
	case "/":
		return []string{"/", "_", "%2F", "%2f", `\/`}
	}
	return []string{letter}
}

// separators may stand between the bytes of a hex dump.
var separators = append([]string{" ", ":", `\x`}, breaks...)

func hexadecimal(text string) form {
	var f form
	for i := range len(text) {
		digits := fmt.Sprintf("%02x", text[i])
		high, low := digits[:1], digits[1:]
		var element []string
		for _, s := range separators {
			if i > 0 || s == "" {
				element = append(element, s+high, s+strings.ToUpper(high))
			}
		}
		f = append(f, distinct(element), distinct([]string{low, strings.ToUpper(low)}))
	}
	return f
}

// distinct drops what stands twice.
func distinct(texts []string) []string {
	seen := map[string]bool{}
	out := texts[:0]
	for _, s := range texts {
		if !seen[s] {
			out = append(out, s)
		}
		seen[s] = true
	}
	return out
}
