package cron

import (
	"fmt"
	"math/bits"
	"strings"
)

// String is the expression in numbers and single spaces, as every cron reads it:
// without names, with 0 for Sunday.
func (e *Expression) String() string {
	texts := make([]string, len(fields))
	for i, s := range e.fields {
		texts[i] = s.text
		if !s.star {
			texts[i] = list(s.values, fields[i], "-", "")
		}
	}
	return strings.Join(texts, " ")
}

// OnCalendar returns the expression for systemd: one or two calendar events, which
// together fire when it does (systemd.time(7)). In one event both day fields must
// hold, so that a choice between them takes two.
func (e *Expression) OnCalendar() []string {
	values := func(i int) string {
		if e.fields[i].values == fields[i].full() {
			return "*"
		}
		return list(e.fields[i].values, fields[i], "..", "/")
	}
	event := func(weekdays, days string) string {
		text := fmt.Sprintf("*-%s-%s %s:%s:00", values(month), days, values(hour), values(minute))
		if weekdays != "" {
			text = weekdays + " " + text
		}
		return text
	}
	days, weekdays := values(day), weekdayNames(e.fields[weekday].values)
	switch {
	case !e.eitherDay():
		return []string{event(weekdays, days)}
	case days == "*" || weekdays == "":
		return []string{event("", "*")}
	}
	return []string{event("", days), event(weekdays, "*")}
}

// weekdayNames is "Mon..Fri", "Mon,Wed", or nothing for every day. systemd's week
// begins on Monday.
func weekdayNames(values uint64) string {
	names := [7]string{"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"}
	monday := values>>1 | values&1<<6
	if monday == 1<<7-1 {
		return ""
	}
	var parts []string
	for _, r := range runs(monday) {
		parts = append(parts, join(names[r.from], names[r.to], r, ".."))
	}
	return strings.Join(parts, ",")
}

// list writes values as numbers and ranges. With a sign for steps, values that are
// equally far apart up to the field's end are written as begin and step.
func list(values uint64, f field, between, step string) string {
	width := 1
	if step != "" { // systemd writes two digits
		width = 2
	}
	first := bits.TrailingZeros64(values)
	if n := stepOf(values, first, f); step != "" && n > 1 {
		return fmt.Sprintf("%0*d%s%d", width, first, step, n)
	}
	var parts []string
	for _, r := range runs(values) {
		parts = append(parts, join(fmt.Sprintf("%0*d", width, r.from), fmt.Sprintf("%0*d", width, r.to), r, between))
	}
	return strings.Join(parts, ",")
}

// stepOf returns how far apart the values are, if that is equally far and the next
// one would be beyond the field's end; else 0.
func stepOf(values uint64, first int, f field) int {
	rest := values &^ (1 << first)
	if bits.OnesCount64(values) < 3 {
		return 0
	}
	n := bits.TrailingZeros64(rest) - first
	var all uint64
	for v := first; v <= f.max; v += n {
		all |= 1 << v
	}
	if all != values {
		return 0
	}
	return n
}

// span is a run of values.
type span struct{ from, to int }

// join writes a run; two values are not worth a range.
func join(from, to string, r span, between string) string {
	switch r.to - r.from {
	case 0:
		return from
	case 1:
		return from + "," + to
	}
	return from + between + to
}

func runs(values uint64) []span {
	var all []span
	for values != 0 {
		from := bits.TrailingZeros64(values)
		length := bits.TrailingZeros64(^(values >> from))
		all = append(all, span{from, from + length - 1})
		values &^= (1<<length - 1) << from
	}
	return all
}
