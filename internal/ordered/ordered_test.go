package ordered

import (
	"errors"
	"testing"
)

func TestEachTakesInOrder(t *testing.T) {
	for _, n := range []int{0, 1, block, block + 1, 10*block + 7} {
		for _, workers := range []int{0, 1, 3, 100} {
			next := 0
			err := Each(n, workers, func(i int) int { return i * i }, func(i, square int) error {
				if i != next || square != i*i {
					t.Fatalf("n %d, workers %d: got %d with %d, want %d", n, workers, i, square, next)
				}
				next++
				return nil
			})
			if err != nil || next != n {
				t.Errorf("n %d, workers %d: took %d, %v", n, workers, next, err)
			}
		}
	}
}

func TestEachEndsWithTheFirstError(t *testing.T) {
	wrong := errors.New("wrong")
	for _, workers := range []int{1, 4} {
		taken := 0
		err := Each(100*block, workers, func(i int) int { return i }, func(i, _ int) error {
			taken++
			if i == 3*block {
				return wrong
			}
			return nil
		})
		if err != wrong || taken != 3*block+1 {
			t.Errorf("workers %d: got %v after %d", workers, err, taken)
		}
	}
}
