package cache

import (
	"bytes"
	"strconv"
	"time"
)

// parsePlain reads the JSON of a record as EncodeRecord writes it when no text needs an
// escape: members in their order, no space, ASCII. ok is false for all else, which may be
// a record all the same. A run in which nothing is to be done reads little but records,
// and this takes less than a third of the time of encoding/json.
func parsePlain(body []byte) (r *Record, ok bool) {
	p := plain{rest: body}
	r = new(Record)
	p.word(`{"key":`)
	p.digest((*Digest)(&r.Key))
	p.word(`,"kind":`)
	r.Kind = p.text()
	p.word(`,"version":`)
	r.Version = p.text()
	p.word(`,"outputs":`)
	r.Outputs = p.objects()
	if p.skip(`,"withheld":`) {
		r.Withheld = p.text()
	}
	if p.skip(`,"attachments":`) {
		r.Attachments = p.objects()
	}
	if p.skip(`,"log":`) {
		p.digest(into(&r.Log))
	}
	if p.skip(`,"preimage":`) {
		p.digest(into(&r.Preimage))
	}
	p.word(`,"made":{"time":`)
	r.Made.Time = p.time()
	p.word(`,"seconds":`)
	r.Made.Seconds = p.number()
	if p.skip(`,"pipe":`) {
		r.Made.Pipe = p.text()
	}
	if p.skip(`,"tier":`) {
		r.Made.Tier = p.text()
	}
	if p.skip(`,"stopped_by":`) {
		r.Made.StoppedBy = p.text()
	}
	p.word("}}\n")
	return r, !p.wrong && len(p.rest) == 0
}

// into makes room for what a pointer is to point to.
func into(d **Digest) *Digest {
	*d = new(Digest)
	return *d
}

// plain takes one part after another from the front of rest. Once something is not as
// it should be, it is wrong, and what it returns means nothing.
type plain struct {
	rest  []byte
	wrong bool
}

func (p *plain) skip(word string) bool {
	if len(p.rest) < len(word) || string(p.rest[:len(word)]) != word {
		return false
	}
	p.rest = p.rest[len(word):]
	return true
}

func (p *plain) word(word string) {
	if !p.skip(word) {
		p.wrong = true
	}
}

// quoted takes a string in quotes.
func (p *plain) quoted() []byte {
	p.word(`"`)
	n := bytes.IndexByte(p.rest, '"')
	if n < 0 {
		p.wrong = true
		return nil
	}
	text := p.rest[:n]
	p.rest = p.rest[n+1:]
	for _, c := range text {
		if c < ' ' || c > '~' || c == '\\' {
			p.wrong = true
		}
	}
	return text
}

func (p *plain) text() string { return string(p.quoted()) }

func (p *plain) digest(d *Digest) {
	if d.UnmarshalText(p.quoted()) != nil {
		p.wrong = true
	}
}

func (p *plain) time() (t time.Time) {
	if t.UnmarshalText(p.quoted()) != nil {
		p.wrong = true
	}
	return t
}

// objects takes a map that has each name once.
func (p *plain) objects() map[string]Object {
	objects := map[string]Object{}
	p.word("{")
	for !p.wrong && !p.skip("}") {
		if len(objects) > 0 {
			p.word(",")
		}
		name := p.text()
		o := Object{Kind: File}
		if !p.skip(`:{"kind":"file"`) {
			p.word(`:{"kind":"tree"`)
			o.Kind = Tree
		}
		p.word(`,"digest":`)
		p.digest(&o.Digest)
		p.word(`,"size":`)
		o.Size = p.size()
		p.word("}")
		if _, twice := objects[name]; twice {
			p.wrong = true
		}
		objects[name] = o
	}
	return objects
}

// size takes a whole number that is not negative.
func (p *plain) size() int64 {
	text := p.numeral()
	v, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil || !isWhole(text) {
		p.wrong = true
	}
	return v
}

// number takes a number that is not negative and has no exponent.
func (p *plain) number() float64 {
	text := p.numeral()
	whole, part, point := bytes.Cut(text, []byte("."))
	v, err := strconv.ParseFloat(string(text), 64)
	if err != nil || !isWhole(whole) || point && !areDigits(part) {
		p.wrong = true
	}
	return v
}

// numeral takes what stands before the end of a member.
func (p *plain) numeral() []byte {
	n := max(bytes.IndexAny(p.rest, ",}"), 0)
	text := p.rest[:n]
	p.rest = p.rest[n:]
	return text
}

// isWhole says whether digits are a number as JSON has it: without a zero in front.
func isWhole(b []byte) bool { return areDigits(b) && (len(b) == 1 || b[0] != '0') }

func areDigits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(b) > 0
}
