package drawing

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"strings"
)

var (
	//go:embed page/page.html
	pageText string
	//go:embed page/page.css
	pageStyle string
	//go:embed page/page.js
	pageScript string
)

// HTML draws the graph as a page of one file: the SVG, which can be moved, searched
// and walked through, beside what is known of each stage. It loads nothing: its own
// policy allows its style and script by their hashes and nothing else, so that no text
// of a pipeline could become a script or a request either.
func (g *Graph) HTML() string {
	return strings.NewReplacer(
		"{{title}}", escape(g.heading()),
		"{{svg}}", g.SVG(),
		"{{graph}}", string(g.JSON()), // encoding/json escapes <, > and &
		"{{style}}", pageStyle, "{{hash style}}", hashSource(pageStyle), "{{hash svg style}}", hashSource(svgStyle),
		"{{script}}", pageScript, "{{hash script}}", hashSource(pageScript),
	).Replace(pageText)
}

// hashSource names a style or script in a Content-Security-Policy.
func hashSource(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}
