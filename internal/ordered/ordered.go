// Package ordered does pieces of work side by side and takes their results in order,
// so that what comes out does not depend on how many did it.
package ordered

import "sync"

// block is how many pieces are handed out at once: handing one out costs as much as a
// small piece.
const block = 64

// Each calls work for each i below n, from workers goroutines, and take with each
// result, in order, from the caller's. The first error of take ends it and is returned.
// Results wait in memory for those before them, a few blocks for each worker.
func Each[T any](n, workers int, work func(i int) T, take func(i int, result T) error) error {
	workers = max(1, min(workers, (n+block-1)/block))
	if workers == 1 {
		for i := range n {
			if err := take(i, work(i)); err != nil {
				return err
			}
		}
		return nil
	}
	type job struct {
		from    int
		results chan []T
	}
	jobs, inOrder := make(chan job), make(chan job, 2*workers)
	stop := make(chan struct{})
	var all sync.WaitGroup
	defer all.Wait()
	defer close(stop)
	for range workers {
		all.Go(func() {
			for j := range jobs {
				results := make([]T, min(block, n-j.from))
				for i := range results {
					results[i] = work(j.from + i)
				}
				j.results <- results
			}
		})
	}
	all.Go(func() {
		defer close(jobs)
		defer close(inOrder)
		for from := 0; from < n; from += block {
			j := job{from, make(chan []T, 1)}
			select {
			case inOrder <- j:
			case <-stop:
				return
			}
			jobs <- j
		}
	})
	for j := range inOrder {
		for i, result := range <-j.results {
			if err := take(j.from+i, result); err != nil {
				return err
			}
		}
	}
	return nil
}
