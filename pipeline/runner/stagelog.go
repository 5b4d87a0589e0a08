package runner

import (
	"bytes"
	"encoding/json"
	"sync"

	"pipe/cache"
	"pipe/pipeline"
)

// stageLog takes a stage's log: it shows entries as they come and keeps them for
// the record.
type stageLog struct {
	runner *Runner
	stage  string

	mu   sync.Mutex // guards kept and full
	kept bytes.Buffer
	full bool

	silent bool // nothing is shown: it was all said when the result was made
}

// logEntry is a line of a stored log.
type logEntry struct {
	Level   string  `json:"level"`
	Message string  `json:"message"`
	Fields  []Field `json:"fields,omitempty"`
}

func (l *stageLog) Info(message string, fields ...any) { l.add("info", message, fields) }
func (l *stageLog) Warn(message string, fields ...any) { l.add("warn", message, fields) }

// keptLog is how much of a stage's log is kept for the record, in bytes. It is all
// shown as it comes.
const keptLog = 16 << 20

func (l *stageLog) add(level, message string, args []any) {
	l.keep(logEntry{Level: level, Message: l.runner.mask().Text(message), Fields: l.runner.maskFields(fieldsOf(args))})
	l.show(level, message, args...)
}

// show shows an entry that is not kept: it concerns this run, not the result.
func (l *stageLog) show(level, message string, args ...any) {
	if l.silent {
		return
	}
	l.runner.emit(Event{Type: "log", Stage: l.stage, Level: level, Message: l.runner.mask().Text(message), Fields: l.runner.maskFields(fieldsOf(args))})
}

func (l *stageLog) keep(e logEntry) {
	b, err := json.Marshal(e)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil || l.full {
		return
	}
	if l.kept.Len()+len(b) > keptLog {
		l.full = true
		b, _ = json.Marshal(logEntry{Level: "warn", Message: "the rest of this log was not kept"})
	}
	l.kept.Write(append(b, '\n'))
}

// resume puts the log of the attempt that is gone on from before what was said since.
func (l *stageLog) resume(lines []byte) {
	lines = l.runner.maskLog(lines)
	l.mu.Lock()
	defer l.mu.Unlock()
	since := bytes.Clone(l.kept.Bytes())
	l.kept.Reset()
	l.kept.Write(lines)
	l.kept.Write(since)
}

func (l *stageLog) lines() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.kept.Bytes())
}

// replay shows the log of a hit again. A log that cannot be read does not make the
// hit a miss.
func (r *Runner) replay(s *pipeline.Step, record *cache.Record) {
	for _, e := range RecordLog(r.Store, record) {
		e.Stage, e.Replayed = s.Name, true
		r.emit(e)
	}
}

// RecordLog returns what a stage said until its result was there, in all attempts, as
// log events; what of it can be read.
func RecordLog(store *cache.Store, r *cache.Record) []Event {
	if r.Log == nil {
		return nil
	}
	b, err := store.ReadCompressed(*r.Log)
	if err != nil {
		return nil
	}
	var events []Event
	for line := range bytes.Lines(b) {
		var e logEntry
		if json.Unmarshal(line, &e) == nil {
			events = append(events, Event{Type: "log", Level: e.Level, Message: e.Message, Fields: e.Fields})
		}
	}
	return events
}
