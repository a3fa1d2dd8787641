package trace

import "math"

// fit finds the clock errors of a chain by solving an optimisation problem.
// Line i has the stamp r_i = t_i + c_h: the true time plus the error of its
// host's clock. True times never run backwards along the chain, so neighbours a
// and b require
//
//	c_b - c_a <= r_b - r_a.
//
// Among all clock errors that satisfy these constraints, fit finds those with
// the smallest total, weighted by the trust in each clock. This is weighted L1
// isotonic regression with shared terms for each host. Its dual is a
// minimum-cost circulation, which is small, can be solved exactly, and also
// yields the range in which each clock can vary at no cost.
//
// All times are in milliseconds, and all weights are integers.
type fit struct {
	up, down []int64 // per node: cost of a fast and of a slow millisecond; node 0 is the true time
	edges    []edge
	cost     int64
	budget   *int64 // edges that may still be examined
}

// fitBudget is the maximum number of edges examined for one message, which
// takes less than a tenth of a second. Without it, a chain of MaxHops lines
// with alternating dates would take ten seconds.
const fitBudget = 10_000_000

// edge is an edge of the residual graph; the reverse of edges[i] is edges[i^1].
type edge struct {
	from, to int
	room     int64
	cost     int64
}

const unbounded = math.MaxInt64 / 4

func newFit(nodes int, budget *int64) *fit {
	return &fit{up: make([]int64, nodes), down: make([]int64, nodes), budget: budget}
}

func (f *fit) arc(from, to int, room, cost int64) {
	f.edges = append(f.edges, edge{from: from, to: to, room: room, cost: cost}, edge{from: to, to: from, cost: -cost})
}

// demand adds the constraint c_b - c_a <= d.
func (f *fit) demand(a, b int, d int64) {
	if a != b {
		f.arc(a, b, unbounded, d)
	}
}

// solve cancels negative cycles until none is left. It returns false if the
// budget is exhausted or the constraints are contradictory.
func (f *fit) solve() bool {
	for n := 1; n < len(f.up); n++ {
		f.arc(0, n, f.up[n], 0)
		f.arc(n, 0, f.down[n], 0)
	}
	for range 4 * len(f.edges) {
		cycle := f.negative()
		if cycle == nil {
			return *f.budget > 0
		}
		room, cost := int64(unbounded), int64(0)
		for _, e := range cycle {
			room = min(room, f.edges[e].room)
			cost += f.edges[e].cost
		}
		if room >= unbounded/2 {
			return false // contradictory constraints
		}
		for _, e := range cycle {
			f.edges[e].room -= room
			f.edges[e^1].room += room
		}
		f.cost -= room * cost
	}
	return false
}

// negative returns a cycle of negative cost with spare capacity, using the
// Bellman-Ford algorithm.
func (f *fit) negative() []int {
	n := len(f.up)
	dist, via := make([]int64, n), make([]int, n)
	for i := range via {
		via[i] = -1
	}
	last := -1
	for range n + 1 {
		if *f.budget -= int64(len(f.edges)); *f.budget <= 0 {
			return nil
		}
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

// clocks returns one optimal set of clock errors, and the bounds of each error
// over all optimal sets.
func (f *fit) clocks() (c, low, high []int64) {
	high = f.reach(false)
	low = f.reach(true)
	for i := range low {
		low[i] = -low[i]
	}
	return high, low, high
}

// reach returns the length of the shortest path from node 0 or, if reversed is
// set, to it.
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
