package trace

import "math"

// The clocks of a chain are found by one optimisation. Line i was stamped
// r_i = t_i + c_h: the true time plus the error of its host's clock. True
// times never run backwards along the chain, so neighbours a and b demand
//
//	c_b - c_a <= r_b - r_a.
//
// Of all clocks that satisfy every demand we want the least error, each host's
// weighed by how much we believe its clock. That is weighted L1 isotonic
// regression with the terms of one host tied together, and its dual is a
// circulation of least cost: small, exact, and it also tells between which
// bounds each clock may vary without any loss.
//
// All times are milliseconds, all weights integers.
type fit struct {
	up, down []int64 // per node: cost of a fast and of a slow millisecond; node 0 is the true time
	edges    []edge
	cost     int64
}

// edge of the residual graph; its reverse is edges[i^1].
type edge struct {
	from, to int
	room     int64
	cost     int64
}

const unbounded = math.MaxInt64 / 4

func newFit(nodes int) *fit {
	return &fit{up: make([]int64, nodes), down: make([]int64, nodes)}
}

func (f *fit) arc(from, to int, room, cost int64) {
	f.edges = append(f.edges, edge{from: from, to: to, room: room, cost: cost}, edge{from: to, to: from, cost: -cost})
}

// demand adds c_b - c_a <= d.
func (f *fit) demand(a, b int, d int64) {
	if a != b {
		f.arc(a, b, unbounded, d)
	}
}

// solve cancels circulations that gain something until none is left. It gives
// up after a bounded number of steps, as on nonsense.
func (f *fit) solve() bool {
	for n := 1; n < len(f.up); n++ {
		f.arc(0, n, f.up[n], 0)
		f.arc(n, 0, f.down[n], 0)
	}
	for range 4 * len(f.edges) {
		cycle := f.negative()
		if cycle == nil {
			return true
		}
		room, cost := int64(unbounded), int64(0)
		for _, e := range cycle {
			room = min(room, f.edges[e].room)
			cost += f.edges[e].cost
		}
		if room >= unbounded/2 {
			return false // demands that contradict each other
		}
		for _, e := range cycle {
			f.edges[e].room -= room
			f.edges[e^1].room += room
		}
		f.cost -= room * cost
	}
	return false
}

// negative finds a cycle of negative cost with room left (Bellman and Ford).
func (f *fit) negative() []int {
	n := len(f.up)
	dist, via := make([]int64, n), make([]int, n)
	for i := range via {
		via[i] = -1
	}
	last := -1
	for range n + 1 {
		last = -1
		for i := range f.edges {
			if e := &f.edges[i]; e.room > 0 && dist[e.from]+e.cost < dist[e.to] {
				dist[e.to], via[e.to], last = dist[e.from]+e.cost, i, e.to
			}
		}
		if last < 0 {
			return nil
		}
	}
	for range n { // walk back into the cycle
		last = f.edges[via[last]].from
	}
	var cycle []int
	for at := last; ; {
		e := via[at]
		cycle = append(cycle, e)
		if at = f.edges[e].from; at == last {
			return cycle
		}
	}
}

// clocks gives one optimal set and the bounds of each clock over all of them.
func (f *fit) clocks() (c, low, high []int64) {
	high = f.reach(false)
	low = f.reach(true)
	for i := range low {
		low[i] = -low[i]
	}
	return high, low, high
}

// reach is the length of the shortest way from node 0 (or, reversed, to it).
func (f *fit) reach(reversed bool) []int64 {
	n := len(f.up)
	dist := make([]int64, n)
	for i := 1; i < n; i++ {
		dist[i] = unbounded
	}
	for range n {
		changed := false
		for i := range f.edges {
			e := &f.edges[i]
			a, b := e.from, e.to
			if reversed {
				a, b = b, a
			}
			if e.room > 0 && dist[a] < unbounded && dist[a]+e.cost < dist[b] {
				dist[b], changed = dist[a]+e.cost, true
			}
		}
		if !changed {
			break
		}
	}
	return dist
}
