package assembly

import (
	"testing"

	"hoplite/relay"
	"hoplite/relay/forward"
)

// An old server must not restrict the extensions of other hops.
func TestCarry(t *testing.T) {
	all := relay.Carry{EightBit: true, UTF8: true, DSN: true}
	old := forward.Offer{Known: true, Size: 1000}
	modern := forward.Offer{Known: true, Size: 5000, EightBit: true, UTF8: true}
	tests := map[string]struct {
		offers []forward.Offer
		want   relay.Carry
	}{
		"no hops":             {nil, all},
		"a maildrop":          {[]forward.Offer{{}}, all},
		"old alone":           {[]forward.Offer{old}, relay.Carry{DSN: true, Size: 1000}},
		"old beside maildrop": {[]forward.Offer{old, {}}, all},
		"old beside modern":   {[]forward.Offer{old, modern}, relay.Carry{EightBit: true, UTF8: true, DSN: true, Size: 5000}},
		"one without a limit": {[]forward.Offer{modern, {Known: true}}, relay.Carry{EightBit: true, UTF8: true, DSN: true}},
	}
	for name, tt := range tests {
		if got := carry(tt.offers); got != tt.want {
			t.Errorf("%s: %+v, want %+v", name, got, tt.want)
		}
	}
}
