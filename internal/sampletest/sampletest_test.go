package sampletest

import "testing"

// choices returns the outcome of a hundred questions.
func choices(t *testing.T, n int) (tried int, which [100]bool) {
	next := OneIn(t, n)
	for i := range which {
		if which[i] = next(); which[i] {
			tried++
		}
	}
	return tried, which
}

func TestOneIn(t *testing.T) {
	t.Setenv("HOPLITE_WHOLE", "")
	t.Setenv("HOPLITE_SEED", "7")
	tried, first := choices(t, 4)
	if tried < 5 || tried > 60 {
		t.Errorf("%d cases of 100 were tried, want about 25", tried)
	}
	if _, again := choices(t, 4); again != first {
		t.Error("the same seed chose other cases")
	}
	t.Setenv("HOPLITE_SEED", "8")
	if _, other := choices(t, 4); other == first {
		t.Error("another seed chose the same cases")
	}
	if tried, _ := choices(t, 1); tried != 100 {
		t.Errorf("one in one: %d of 100", tried)
	}
	t.Setenv("HOPLITE_WHOLE", "1")
	if tried, _ := choices(t, 1000); tried != 100 {
		t.Errorf("with HOPLITE_WHOLE=1: %d of 100", tried)
	}
}
