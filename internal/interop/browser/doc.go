// Package browser shows the pages that pipe writes to a real browser: make
// interop-browser. It is a module of its own, so that nobody has to fetch chromedp who
// does not ask for this.
package browser
