package drawing

import (
	"slices"

	"pipe/internal/layered"
)

// rectangle is left, top, right, bottom.
type rectangle [4]float64

func (r rectangle) overlaps(o rectangle) bool {
	return r[0] < o[2] && o[0] < r[2] && r[1] < o[3] && o[1] < r[3]
}

func (r rectangle) contains(p layered.Point) bool {
	return p.X > r[0] && p.X < r[2] && p.Y > r[1] && p.Y < r[3]
}

// placeLabels finds each label a place at its line, where it covers no box and no
// other label and, if there is such a place, no line; else its own at most. It is nil
// where there is none, and the tooltip has to do.
func (p *picture) placeLabels() []*layered.Point {
	places := make([]*layered.Point, len(p.lines))
	drawn := p.sample()
	var taken []rectangle
	for i, label := range p.labels {
		if label == "" {
			continue
		}
		half := textWidth(label, labelFont)/2 + 2
		best, fewest := rectangle{}, 2
		for _, at := range p.labelPlaces(p.layout.Routes[i], half) {
			box := rectangle{at.X - half, at.Y - labelFont/2 - 1, at.X + half, at.Y + labelFont/2 + 1}
			if slices.ContainsFunc(taken, box.overlaps) || p.onBox(box) {
				continue
			}
			if covered := drawn.under(box, i); covered < fewest {
				best, fewest, places[i] = box, covered, &at
			}
		}
		if places[i] != nil {
			taken = append(taken, best)
		}
	}
	return places
}

// labelPlaces are points on, left and right of a route's last gap and its first,
// where it is alone more often than between.
func (p *picture) labelPlaces(route layered.Route, half float64) []layered.Point {
	var places []layered.Point
	for _, k := range []int{len(route) - 1, 1} {
		for _, t := range []float64{0.5, 0.6, 0.4, 0.7, 0.3} {
			at := p.onCurve(route[k-1], route[k], t)
			for _, aside := range []float64{0, half + 3, -half - 3} {
				places = append(places, layered.Point{X: at.X + aside, Y: at.Y})
			}
		}
	}
	return places
}

// drawnLines are points along the lines, by squares of the drawing.
type drawnLines map[[2]int][]linePoint

type linePoint struct {
	layered.Point
	line int
}

// square is the side of one, in pixels: about as long as a label.
const square = 64

// sample takes points along every curve, closer to one another than a label is high.
// Along tracks, where no labels are, there are none.
func (p *picture) sample() drawnLines {
	const steps = 24
	drawn := drawnLines{}
	for line, route := range p.layout.Routes {
		for k := 1; k < len(route); k += 2 {
			for i := range steps + 1 {
				at := p.onCurve(route[k-1], route[k], float64(i)/steps)
				key := [2]int{int(at.X / square), int(at.Y / square)}
				drawn[key] = append(drawn[key], linePoint{at, line})
			}
		}
	}
	return drawn
}

// under is 0 if a label covers no line, 1 if only its own, 2 otherwise.
func (d drawnLines) under(label rectangle, own int) int {
	covered := 0
	for x := int(label[0] / square); x <= int(label[2]/square); x++ {
		for y := int(label[1] / square); y <= int(label[3]/square); y++ {
			for _, p := range d[[2]int{x, y}] {
				if !label.contains(p.Point) {
					continue
				}
				if p.line != own {
					return 2
				}
				covered = 1
			}
		}
	}
	return covered
}

// onCurve is a point of the curve across a gap.
func (p *picture) onCurve(from, to layered.Point, t float64) layered.Point {
	c1, c2 := p.controls(from, to)
	u := 1 - t
	a, b, c, d := u*u*u, 3*u*u*t, 3*u*t*t, t*t*t
	return layered.Point{X: a*from.X + b*c1.X + c*c2.X + d*to.X, Y: a*from.Y + b*c1.Y + c*c2.Y + d*to.Y}
}

func (p *picture) onBox(label rectangle) bool {
	return label[0] < -margin || label[2] > p.layout.Size.Width+margin || slices.ContainsFunc(p.layout.Boxes, func(at layered.Point) bool {
		return label.overlaps(rectangle{at.X, at.Y, at.X + p.box.Width, at.Y + p.box.Height})
	})
}
