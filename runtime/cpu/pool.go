package cpu

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// spin is how long an idle worker looks for the next job before it sleeps.
// Operations follow one another within microseconds, and waking a sleeper takes
// as long as a small operation; a pause longer than this is somebody reading a
// file, who should find the processor idle.
const spin = 50 * time.Microsecond

// job is work that falls into independent tasks, numbered from 0. Which worker
// does which task, and in which order, must not matter to the result.
type job interface {
	do(w *worker, task int)
}

// worker is what a goroutine brings to a task, its scratch memory, and its share
// of the job in progress.
type worker struct {
	arena
	id    int
	panel []float32 // of B, packed
	tile  []float32 // of C, at the edges of a matrix

	tables  []float32 // code books of a run of rows, scaled
	segment []float32 // of dequantised rows

	gradBlock gradBlock

	asleep atomic.Bool
	wake   chan struct{}

	_    [alignment]byte
	next atomic.Int64 // first task of the share that nobody has taken
	end  int64        // of the share
	_    [alignment]byte
}

// pool runs jobs. The caller of run is worker 0; the others join while the job is
// open. Each has a share of the tasks, a run of neighbours, and who is done with
// it takes from the shares of others. As tasks go along rows, a worker meets the
// rows that it wrote in the operation before, in its own cache: between the caches
// of two cores they may travel for as long as the operation takes.
//
// Nobody waits for a worker that has not joined, so a sleeper that wakes late, or
// one that the operating system has put aside, costs nothing but its help.
type pool struct {
	workers []*worker
	patient bool // spin: there is a processor for every worker
	running sync.WaitGroup
	closed  atomic.Bool

	// The job in progress, and how many workers have a share of it. Like the
	// shares, they are written by the caller before it opens state, and read by
	// those who have joined.
	job    job
	shares int

	_     [alignment]byte
	state atomic.Uint64 // number of the job << 17 | open << 16 | how many have joined and not left
	_     [alignment]byte
}

const (
	joined    = 1<<16 - 1
	accepting = 1 << 16
	number    = 17 // shift of the job's number
)

func (p *pool) start(workers int, k *kernels) {
	p.patient = workers <= runtime.GOMAXPROCS(0)
	for i := range workers {
		w := &worker{id: i, wake: make(chan struct{}, 1), tile: aligned(k.mr * k.nr), tables: aligned(16 * k.lanes)}
		p.workers = append(p.workers, w)
		if i > 0 {
			p.running.Add(1)
			go p.serve(w)
		}
	}
}

// close ends the goroutines of the pool and waits for them.
func (p *pool) close() {
	p.closed.Store(true)
	for _, w := range p.workers[1:] {
		w.rouse()
	}
	p.running.Wait()
}

// run does all tasks of j and returns when they are done.
func (p *pool) run(j job, tasks int) {
	if tasks <= 1 || len(p.workers) == 1 {
		for t := range tasks {
			j.do(p.workers[0], t)
		}
		return
	}
	p.job, p.shares = j, min(tasks, len(p.workers))
	for i, w := range p.workers[:p.shares] {
		w.next.Store(int64(tasks * i / p.shares))
		w.end = int64(tasks * (i + 1) / p.shares)
	}
	p.state.Store((p.state.Load()>>number+1)<<number | accepting)
	for _, w := range p.workers[1:p.shares] {
		w.rouse()
	}
	p.work(p.workers[0])
	p.state.And(^uint64(accepting))
	for i := 0; p.state.Load()&joined != 0; i++ {
		hold(i)
	}
	p.job = nil
}

// work does tasks until none is left, those of its own share first.
func (p *pool) work(w *worker) {
	for i := range p.shares {
		share := p.workers[(w.id+i)%p.shares]
		for {
			t := share.next.Add(1) - 1
			if t >= share.end {
				break
			}
			p.job.do(w, int(t))
		}
	}
}

// rouse wakes w if it sleeps.
func (w *worker) rouse() {
	if w.asleep.CompareAndSwap(true, false) {
		w.wake <- struct{}{}
	}
}

// serve is the life of a worker: join every job that is open.
func (p *pool) serve(w *worker) {
	defer p.running.Done()
	var last uint64 // number of the newest job that was joined
	idle, since := 0, time.Now()
	for !p.closed.Load() {
		s := p.state.Load()
		if s&accepting != 0 && s>>number != last {
			if p.state.CompareAndSwap(s, s+1) {
				last = s >> number
				p.work(w)
				p.state.Add(^uint64(0))
				idle, since = 0, time.Now()
			}
			continue
		}
		if idle++; p.patient && (idle%64 != 0 || time.Since(since) < spin) {
			pause()
			continue
		}
		w.asleep.Store(true)
		// A job that was opened before that store saw no sleeper to wake.
		s = p.state.Load()
		if (s&accepting != 0 && s>>number != last || p.closed.Load()) && w.asleep.CompareAndSwap(true, false) {
			continue
		}
		<-w.wake
		idle, since = 0, time.Now()
	}
}

// hold is the body of a loop that waits for another worker to finish its task.
func hold(i int) {
	if i < 1000 {
		pause()
		return
	}
	runtime.Gosched() // it may be waiting for this very processor
}
