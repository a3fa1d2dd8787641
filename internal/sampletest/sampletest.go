// Package sampletest lets a test that tries every case of a large set try a
// random part of them in the ordinary run. With HOPLITE_WHOLE=1 it tries them
// all; HOPLITE_SEED repeats the choice of a failed run.
package sampletest

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// OneIn returns a function that reports whether to try the next case: about one
// in n, or every case with HOPLITE_WHOLE=1. It is not safe for concurrent use.
func OneIn(t testing.TB, n int) func() bool {
	t.Helper()
	if Whole() || n <= 1 {
		return func() bool { return true }
	}
	seed := uint64(time.Now().UnixNano())
	if v := os.Getenv("HOPLITE_SEED"); v != "" {
		var err error
		if seed, err = strconv.ParseUint(v, 10, 64); err != nil {
			t.Fatalf("HOPLITE_SEED: %v", err)
		}
	}
	t.Logf("tries one case in %d; HOPLITE_SEED=%d repeats the choice", n, seed)
	rnd := rand.New(rand.NewPCG(seed, uint64(n)))
	return func() bool { return rnd.IntN(n) == 0 }
}

// Whole reports whether tests are to try every case.
func Whole() bool { return os.Getenv("HOPLITE_WHOLE") != "" }
