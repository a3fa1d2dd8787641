package server

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"hoplite/cmd/hoplite/internal/state"
	"hoplite/internal/users"
)

// Accounts, addresses and networks are unblocked, and the response lists those
// that were not blocked.
func TestUnblock(t *testing.T) {
	loginName := func(name string) string {
		if !strings.Contains(name, "@") {
			name += "@localhost"
		}
		return strings.ToLower(name)
	}
	synctest.Test(t, func(t *testing.T) {
		throttle := users.NewThrottle()
		for range 15 {
			if try, err := throttle.Begin(context.Background(), netip.MustParseAddr("192.0.2.7"), "ann@localhost"); err == nil {
				try.Failed(context.Background())
			}
		}
		for _, c := range []struct {
			name    string
			in      state.Unblock
			removed int
			missing []string
		}{
			{"unknown names", state.Unblock{Names: []string{"bob", "192.0.2.8", "2001:db8::/32"}}, 0, []string{"bob", "192.0.2.8", "2001:db8::/32"}},
			{"an account by its login name, and its client", state.Unblock{Names: []string{"Ann", "::ffff:192.0.2.7"}}, 2, nil},
			{"what is no longer blocked", state.Unblock{Names: []string{"ann@localhost", "192.0.2.0/24"}}, 0, []string{"ann@localhost", "192.0.2.0/24"}},
			{"everything, when there is nothing", state.Unblock{All: true}, 0, nil},
		} {
			got := unblock(throttle, loginName, c.in)
			if got.Removed != c.removed || !slices.Equal(got.Missing, c.missing) {
				t.Errorf("%s: %+v", c.name, got)
			}
		}
	})
}
