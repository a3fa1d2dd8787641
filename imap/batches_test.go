package imap

import (
	"reflect"
	"testing"

	"hoplite/imap/wire"
)

func TestBatches(t *testing.T) {
	msgs := snapshot(1, 2, 5, 6, 7, 10, 20).Messages
	tests := []struct {
		b    wire.Batches
		want []wire.Range
	}{
		{wire.Batches{Size: 3}, []wire.Range{{Lo: 7, Hi: 20}, {Lo: 2, Hi: 6}, {Lo: 1, Hi: 1}}},
		{wire.Batches{Size: 7}, []wire.Range{{Lo: 1, Hi: 20}}},
		{wire.Batches{Size: 1<<32 - 1}, []wire.Range{{Lo: 1, Hi: 20}}},
		{wire.Batches{Size: 3, First: 1, Last: 1}, []wire.Range{{Lo: 7, Hi: 20}}},
		{wire.Batches{Size: 3, First: 2, Last: 9}, []wire.Range{{Lo: 2, Hi: 6}, {Lo: 1, Hi: 1}}},
		{wire.Batches{Size: 3, First: 4, Last: 9}, nil},
	}
	for _, tc := range tests {
		if got := batches(msgs, tc.b); !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%+v: got %v, want %v", tc.b, got, tc.want)
		}
	}
	if got := batches(nil, wire.Batches{Size: 3}); got != nil {
		t.Errorf("empty mailbox: %v", got)
	}
}

func TestPage(t *testing.T) {
	tests := []struct {
		page           wire.Page
		n, first, last int
	}{
		{wire.Page{First: 1, Last: 2}, 5, 0, 2},
		{wire.Page{First: 4, Last: 9}, 5, 3, 5},
		{wire.Page{First: 6, Last: 9}, 5, 5, 5},
		{wire.Page{First: 1, Last: 2, FromEnd: true}, 5, 3, 5},
		{wire.Page{First: 4, Last: 9, FromEnd: true}, 5, 0, 2},
		{wire.Page{First: 6, Last: 9, FromEnd: true}, 5, 0, 0},
		{wire.Page{First: 1, Last: 1<<32 - 1, FromEnd: true}, 0, 0, 0},
		{wire.Page{}, 5, 0, 0},
	}
	for _, tc := range tests {
		if from, to := tc.page.Of(tc.n); from != tc.first || to != tc.last {
			t.Errorf("%+v of %d: %d, %d", tc.page, tc.n, from, to)
		}
	}
}
