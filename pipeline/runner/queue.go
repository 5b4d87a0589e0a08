package runner

import (
	"context"
	"slices"
	"sync"

	"pipe/cache"
	"pipe/pipeline"
)

// state is where a step is.
type state struct {
	result  stepResult
	started bool
	done    bool
	remakes int

	overtaken int   // how often a step behind it took what it waits for
	twins     []int // positions of steps that wait for its end, and are
	parked    bool
}

// mostOvertaken is how often a step may be overtaken: often enough for nothing to lie
// idle for a large one, and not for ever.
const mostOvertaken = 8

// queue says which step is next. Workers take steps from it, run them and report; a worker
// that has done a step goes on with the next, so that a chain of steps that are all known
// is one goroutine's work. Each step costs the queue the same, however many there are.
type queue struct {
	runner   *Runner
	steps    []*pipeline.Step
	position map[*pipeline.Step]int
	readers  [][]int // by position: the steps that read from the step, in order

	mu      sync.Mutex // guards what follows
	changed *sync.Cond // something may be ready, or nothing will be any more
	states  map[*pipeline.Step]*state
	missing []int // by position: how many of the steps that it reads from are not done
	ready   []int // positions of steps that nothing is missing to, the last first
	running int
	free    *pool
}

// schedule runs every step that can run, as resources allow, and returns how they ended.
func (r *Runner) schedule(ctx context.Context, steps []*pipeline.Step) map[*pipeline.Step]*state {
	soon, cancel := r.untilStop(ctx)
	defer cancel()
	q := newQueue(r, steps, newPool(r.total(), r.Machine.CPU, r.Jobs))
	r.toCome.Store(int64(len(steps)))
	var workers sync.WaitGroup
	most := q.free.slots
	if !r.inOrder() {
		most *= 2 // while a result is committed, the next stage runs
	}
	r.folders = newFolders(r.Store, !r.inOrder())
	defer r.folders.close()
	for range min(most, len(steps)) {
		workers.Go(func() { q.work(ctx, soon) })
	}
	tellStop := q.whenStopped()
	workers.Wait()
	tellStop()
	for _, s := range steps {
		if st := q.states[s]; !st.done {
			st.done, st.result = true, stepResult{step: s, outcome: Interrupted, why: NotStarted}
			if why := brokenInput(s, q.states); why != "" {
				st.result = stepResult{step: s, outcome: Skipped, why: why}
			}
			r.stageEnd(st.result)
		}
	}
	return q.states
}

// NotStarted is why a stage was interrupted that had not begun.
const NotStarted = "it was not started"

// whenStopped tells, when the run is asked to end soon, what is waited for. The function
// that it returns ends that.
func (q *queue) whenStopped() (end func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-q.runner.Stop:
		case <-done:
			return
		}
		q.mu.Lock()
		defer q.mu.Unlock()
		e := Event{Type: "stopping"}
		for _, s := range q.steps {
			if st := q.states[s]; st.started && !st.done {
				e.Stages = append(e.Stages, s.Name)
			}
		}
		q.runner.emit(e)
	}()
	return func() { close(done); <-ended }
}

// inOrder says whether all happens in one order, nothing beside anything else: where one
// stage at a time was asked for, a fault can be had again.
func (r *Runner) inOrder() bool { return r.Jobs == 1 }

func newQueue(r *Runner, steps []*pipeline.Step, free *pool) *queue {
	q := &queue{runner: r, steps: steps, position: make(map[*pipeline.Step]int, len(steps)), readers: make([][]int, len(steps)),
		states: make(map[*pipeline.Step]*state, len(steps)), free: free}
	q.changed = sync.NewCond(&q.mu)
	states := make([]state, len(steps))
	for i, s := range steps {
		q.position[s], q.states[s] = i, &states[i]
		for _, in := range s.Inputs {
			for maker := range in.Makers() {
				from := q.position[maker] // which stands before s
				if n := len(q.readers[from]); n == 0 || q.readers[from][n-1] != i {
					q.readers[from] = append(q.readers[from], i)
				}
			}
		}
	}
	q.count()
	return q
}

// count finds out anew what is missing and ready.
func (q *queue) count() {
	q.missing, q.ready = make([]int, len(q.steps)), q.ready[:0]
	for i, s := range q.steps {
		if !q.states[s].done {
			for _, reader := range q.readers[i] {
				q.missing[reader]++
			}
		}
	}
	for i := len(q.steps) - 1; i >= 0; i-- {
		if q.mayStart(i) {
			q.ready = append(q.ready, i)
		}
	}
}

// work runs steps until none is left that can run. soon ends before ctx, when no more
// steps are to begin.
func (q *queue) work(ctx, soon context.Context) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		s, workers := q.next(soon)
		switch {
		case s == nil && q.running == 0:
			q.changed.Broadcast()
			return
		case s == nil:
			q.changed.Wait()
			continue
		}
		if len(q.ready) > 0 {
			q.changed.Signal()
		}
		records, remakes := upstreamRecords(s, q.states), q.states[s].remakes
		q.mu.Unlock()
		release := sync.OnceFunc(func() { q.release(s) })
		res := q.runner.runStep(ctx, soon, s, records, workers, release)
		release()
		remake := res.damaged != nil && remakes < maxRemakes
		if !remake && res.twin == nil {
			q.runner.stageEnd(res) // before its readers begin
		}
		q.mu.Lock()
		q.running--
		switch {
		case res.twin != nil:
			q.park(res)
		case remake:
			q.sendBack(res)
		default:
			q.finish(res)
		}
	}
}

// release gives back what a step had: another can begin.
func (q *queue) release(s *pipeline.Step) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.free.give(s.Resources)
	q.changed.Signal()
}

// next takes the first step that is ready and for which there are resources. workers is
// how many processors it may use. A step that was overtaken often keeps those behind it
// from what it waits for.
func (q *queue) next(soon context.Context) (s *pipeline.Step, workers int) {
	if soon.Err() != nil || q.runner.stopped() {
		return nil, 0
	}
	var waiting []*pipeline.Step
	for at, i := range slices.Backward(q.ready) {
		s := q.steps[i]
		if q.free.slots == 0 {
			break
		}
		if slices.ContainsFunc(waiting, func(w *pipeline.Step) bool {
			return q.states[w].overtaken >= mostOvertaken && q.free.competes(s.Resources, w.Resources)
		}) {
			continue
		}
		if workers, ok := q.free.take(s.Resources); ok {
			for _, w := range waiting {
				if q.free.competes(s.Resources, w.Resources) {
					q.states[w].overtaken++
				}
			}
			q.ready = slices.Delete(q.ready, at, at+1)
			q.states[s].started = true
			q.running++
			q.runner.toCome.Add(-1)
			return s, workers
		}
		waiting = append(waiting, s)
	}
	return nil, 0
}

// finish notes how a step ended: its readers are ready, or will never be.
func (q *queue) finish(res stepResult) {
	st := q.states[res.step]
	st.done, st.result = true, res
	q.unpark(st)
	broken := map[int]bool{}
	q.settle(q.position[res.step], broken)
	// In the plan's order, so that each is told of after what it needs.
	for i := q.position[res.step] + 1; len(broken) > 0; i++ {
		s := q.steps[i]
		if st := q.states[s]; broken[i] && !st.done && !st.started {
			st.done, st.result = true, stepResult{step: s, outcome: Skipped, why: brokenInput(s, q.states)}
			q.runner.stageEnd(st.result)
			q.settle(i, broken)
		}
		delete(broken, i)
	}
}

// settle counts a step that is done for its readers, and adds those to broken that can
// never run because the step made nothing.
func (q *queue) settle(i int, broken map[int]bool) {
	for _, reader := range q.readers[i] {
		q.missing[reader]--
		st := q.states[q.steps[reader]]
		switch {
		case st.done || st.started:
		case q.states[q.steps[i]].result.record == nil:
			broken[reader] = true
		default:
			q.add(reader)
		}
	}
}

func (q *queue) mayStart(i int) bool {
	st := q.states[q.steps[i]]
	return q.missing[i] == 0 && !st.done && !st.started && !st.parked
}

// add makes a step ready, if nothing keeps it any more.
func (q *queue) add(i int) {
	if !q.mayStart(i) {
		return
	}
	at, _ := slices.BinarySearchFunc(q.ready, i, func(a, b int) int { return b - a })
	q.ready = slices.Insert(q.ready, at, i)
}

// park has a step wait for the end of its twin, which may have come meanwhile.
func (q *queue) park(res stepResult) {
	i := q.position[res.step]
	q.states[res.step].started = false
	q.runner.toCome.Add(1)
	if twin := q.states[res.twin]; twin.started && !twin.done {
		q.states[res.step].parked = true
		twin.twins = append(twin.twins, i)
		return
	}
	q.add(i)
}

func (q *queue) unpark(st *state) {
	for _, i := range st.twins {
		q.states[q.steps[i]].parked = false
		q.add(i)
	}
	st.twins = nil
}

// sendBack has a step run again after the one whose output it found damaged.
func (q *queue) sendBack(res stepResult) {
	st := q.states[res.step]
	st.remakes++
	st.started = false
	q.runner.toCome.Add(1)
	q.unpark(st)
	if producer := q.states[res.damaged]; producer.done { // else another reader has sent it back
		q.runner.toCome.Add(1)
		*producer = state{remakes: producer.remakes}
	}
	q.runner.emit(Event{Type: "log", Stage: res.damaged.Name, Level: "warn", Message: "an output is damaged in the store; it is made again"})
	q.count()
}

// brokenInput names the step, if any, that keeps s from ever being ready.
func brokenInput(s *pipeline.Step, states map[*pipeline.Step]*state) string {
	for _, in := range s.Inputs {
		for from := range in.Makers() {
			if st := states[from]; st.done && st.result.record == nil {
				return "needs " + from.Name
			}
		}
	}
	return ""
}

func upstreamRecords(s *pipeline.Step, states map[*pipeline.Step]*state) map[*pipeline.Step]*cache.Record {
	records := map[*pipeline.Step]*cache.Record{}
	for _, in := range s.Inputs {
		for from := range in.Makers() {
			records[from] = states[from].result.record
		}
	}
	return records
}
