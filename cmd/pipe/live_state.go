package main

import (
	"math"
	"slices"
	"time"

	"pipe/pipeline/runner"
	"pipe/stages"
)

// liveState is what the live view knows of a run: the events so far, folded.
type liveState struct {
	started time.Time    // of the run
	stages  []*liveStage // in the run's order
	detail  *liveStage   // the last one to have told figures
	talker  *liveStage   // the last one to have shown samples
}

// phase is where a stage is: waiting, running, or an outcome.
type phase string

const (
	waiting phase = "waiting"
	running phase = "running"
)

// liveStage is one stage.
type liveStage struct {
	name     string
	phase    phase
	since    time.Time // it runs, or will after a retry's pause
	end      runner.Event
	retry    runner.Event // that announced this attempt; zero in the first
	progress runner.Event // of this attempt; zero before its first
	curves   []*followed
}

// fold takes one event in. Unknown events change nothing; unknown stages are added, so
// that a stage that runs without a pipeline can be shown.
func (s *liveState) fold(e runner.Event) {
	if s.started.IsZero() {
		s.started = e.Time
	}
	switch e.Type {
	case "run_start":
		for _, name := range e.Stages {
			s.stage(name)
		}
	case "stage_start":
		*s.stage(e.Stage) = liveStage{name: e.Stage, phase: running, since: e.Time} // again, if it is made again
	case "retry": // what the attempt before has shown is over
		pause := time.Duration(e.Seconds * float64(time.Second))
		*s.stage(e.Stage) = liveStage{name: e.Stage, phase: running, since: e.Time.Add(pause), retry: e}
	case "progress":
		st := s.stage(e.Stage)
		st.progress = e
		for _, v := range e.Values {
			st.followed(v.Name).add(v)
		}
		if len(e.Values) > 0 {
			s.detail = st
		}
		if len(e.Samples) > 0 {
			s.talker = st
		}
	case "stage_end":
		st := s.stage(e.Stage)
		st.phase, st.end = phase(e.Outcome), e
	}
}

func (s *liveState) stage(name string) *liveStage {
	i := slices.IndexFunc(s.stages, func(st *liveStage) bool { return st.name == name })
	if i < 0 {
		i = len(s.stages)
		s.stages = append(s.stages, &liveStage{name: name, phase: waiting})
	}
	return s.stages[i]
}

func (st *liveStage) followed(name string) *followed {
	i := slices.IndexFunc(st.curves, func(c *followed) bool { return c.last.Name == name })
	if i < 0 {
		i = len(st.curves)
		st.curves = append(st.curves, &followed{each: 1})
	}
	return st.curves[i]
}

// curvePoints bounds what is kept of a figure: twice what the widest plot can show.
const curvePoints = 1024

// followed is the history of a figure. When there is too much of it, neighbours are
// merged: each point is the mean of so many values.
type followed struct {
	last   stages.Value
	points []float64
	each   int     // values to a point
	sum    float64 // of those that are no point yet
	n      int
}

func (c *followed) add(v stages.Value) {
	c.last = v
	c.sum, c.n = c.sum+v.Value, c.n+1
	if c.n < c.each {
		return
	}
	c.points = append(c.points, c.sum/float64(c.n))
	c.sum, c.n = 0, 0
	if len(c.points) < curvePoints {
		return
	}
	for i := range curvePoints / 2 {
		c.points[i] = (c.points[2*i] + c.points[2*i+1]) / 2
	}
	c.points = c.points[:curvePoints/2]
	c.each *= 2
}

// column returns what to draw in a column of so many: the mean of the points that fall
// into it, or a place between two points where there are fewer points than columns.
func (c *followed) column(i, columns int) float64 {
	n := len(c.points)
	if first, end := i*n/columns, (i+1)*n/columns; n >= columns {
		sum := 0.0
		for _, p := range c.points[first:end] {
			sum += p
		}
		return sum / float64(end-first)
	}
	x := float64(i) / float64(columns-1) * float64(n-1)
	left := min(int(x), n-1)
	right, part := min(left+1, n-1), x-float64(left)
	return c.points[left]*(1-part) + c.points[right]*part
}

// axis is the vertical scale of a plot. Around the bands it is about linear, far from
// them logarithmic (asinh), so that a figure that starts far off does not squeeze them
// flat. Without bands it is linear.
type axis struct {
	middle, span float64 // of the bands' bounds; span 0 is linear
	low, high    float64 // after scale
}

// bandRoom is the least room beyond the outermost bounds, on the scale of asinh.
const bandRoom = 0.5

// newAxis returns an axis that holds a curve with at least one point, and its bands.
func newAxis(c *followed) axis {
	low, high := slices.Min(c.points), slices.Max(c.points)
	var bounds []float64
	for _, b := range c.last.Bands {
		for _, x := range []*float64{b.Low, b.High} {
			if x != nil {
				bounds = append(bounds, *x)
			}
		}
	}
	var a axis
	if len(bounds) == 0 {
		a.low, a.high = low, high
	} else {
		first, last := slices.Min(bounds), slices.Max(bounds)
		a.middle, a.span = (first+last)/2, last-first
		if a.span == 0 {
			a.span = max(math.Abs(first), 1e-9)
		}
		a.low = min(a.scale(low), a.scale(first)-bandRoom)
		a.high = max(a.scale(high), a.scale(last)+bandRoom)
	}
	if a.high <= a.low {
		a.low, a.high = a.low-0.5, a.high+0.5
	}
	return a
}

func (a axis) scale(x float64) float64 {
	if a.span == 0 {
		return x
	}
	return math.Asinh((x - a.middle) / a.span)
}

// place is where a value lies from 0, the bottom of the plot, to 1, its top.
func (a axis) place(x float64) float64 { return (a.scale(x) - a.low) / (a.high - a.low) }

// bandAt returns the band that a value lies in, or nil. Bad ones come first.
func bandAt(bands []stages.Band, x float64) *stages.Band {
	var found *stages.Band
	for i, b := range bands {
		if (b.Low == nil || x >= *b.Low) && (b.High == nil || x <= *b.High) && (found == nil || b.Bad) {
			found = &bands[i]
		}
	}
	return found
}
