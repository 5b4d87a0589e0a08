package cpu

import (
	"fmt"

	"pipe/runtime/ops"
)

// logitsPerWorker bounds the logits that are held at a time: 4 MiB a worker.
const logitsPerWorker = 1 << 20

// lossJob measures the rows of a block of logits, one a task, and leaves the
// gradient in their place.
type lossJob struct {
	*Backend
	loss, entropy, correct []float32
	targets                []int32
	vocabulary             int
	first                  int // row of the block
	scale                  float32
	grad                   bool

	logits []float32
}

// CrossEntropy measures x against targets by way of the output layer w, and
// gives the gradient of x. It works on blocks of rows: all logits of a block are
// computed, measured and multiplied with w again.
func (b *Backend) CrossEntropy(dx, loss, entropy, correct, x, targets ops.Buf, rows int, w ops.Weight, scale float32) {
	j := &b.loss
	j.loss, j.entropy = floats(loss, rows, "loss"), floats(entropy, rows, "loss: entropy")
	j.correct, j.targets = floats(correct, rows, "loss: correct"), ints(targets, rows, "loss: targets")
	j.vocabulary, j.scale, j.grad = w.Out, scale, dx != nil
	for _, t := range j.targets {
		if t < 0 || int(t) >= w.Out {
			panic(fmt.Sprintf("internal error: cpu: loss: target %d of a vocabulary of %d", t, w.Out))
		}
	}
	xs := floats(x, rows*w.In, "loss: x")
	var dxs []float32
	if dx != nil {
		dxs = floats(dx, rows*w.In, "loss: dx")
	}
	forward, back := weightMatrix(w, true), weightMatrix(w, false)

	block := max(1, min(rows, logitsPerWorker*len(b.pool.workers)/max(1, w.Out)))
	grow(&j.logits, block*w.Out)
	for j.first = 0; j.first < rows; j.first += block {
		n := min(block, rows-j.first)
		p := &b.product
		p.m, p.n, p.k = n, w.Out, w.In
		p.a, p.lda, p.b = xs[j.first*w.In:], w.In, forward
		p.c, p.ldc, p.accumulate = j.logits, w.Out, false
		p.multiply()
		b.pool.run(j, n)
		if dx == nil {
			continue
		}
		p.m, p.n, p.k = n, w.In, w.Out
		p.a, p.lda, p.b = j.logits, w.Out, back
		p.c, p.ldc, p.accumulate = dxs[j.first*w.In:], w.In, false
		p.multiply()
	}
	j.loss, j.entropy, j.correct, j.targets = nil, nil, nil, nil
}

// do measures one row. With m the largest logit, s = Σexp(z-m) and p = exp(z-m)/s:
// the loss is log s + m - z of the target, the entropy log s - Σp·(z-m).
func (j *lossJob) do(_ *worker, task int) {
	row, z := j.first+task, j.logits[task*j.vocabulary:][:j.vocabulary]
	target := int(j.targets[row])
	highest, logit := j.max(z), z[target]
	j.correct[row] = 0
	if logit == highest && firstOf(z[:target], highest) < 0 {
		j.correct[row] = 1
	}
	sum, weighted := j.expSum(z, highest)
	logSum := log(sum)
	j.loss[row] = float32(logSum + float64(highest) - float64(logit))
	j.entropy[row] = float32(logSum - float64(weighted)/float64(sum))
	if j.grad {
		f := j.scale / sum
		j.Backend.kernels.scale(z, f)
		z[target] -= j.scale
	}
}
