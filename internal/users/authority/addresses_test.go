package authority

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hoplite/internal/conf"
	"hoplite/internal/directory"
	"hoplite/internal/directory/directorytest"
	"hoplite/internal/users"
)

func TestAddresses(t *testing.T) {
	s := directorytest.Start(t,
		directorytest.Entry{DN: "cn=ann,dc=x", Attributes: map[string][]string{"mail": {"ann@example.org"}, "proxyAddresses": {"smtp:a@example.org"}}},
		directorytest.Entry{DN: "cn=all,dc=x", Attributes: map[string][]string{"objectClass": {"group"}, "mail": {"all@example.org"}, "member": {"cn=ann,dc=x"}}},
		directorytest.Entry{DN: "cn=none,dc=x", Attributes: map[string][]string{"objectClass": {"group"}, "mail": {"none@example.org"}}},
		directorytest.Entry{DN: "cn=big,dc=x", Attributes: map[string][]string{"objectClass": {"group"}, "mail": {"big@example.org"}, "member;range=0-1499": {"cn=ann,dc=x"}}},
		directorytest.Entry{DN: "cn=t1,dc=x", Attributes: map[string][]string{"mail": {"twin@example.org"}}},
		directorytest.Entry{DN: "cn=t2,dc=x", Attributes: map[string][]string{"mail": {"twin@example.org"}}},
	)
	dc := directory.Config{Name: "ad", URL: s.URL(), Base: "dc=x", Schema: "ad"}
	conf.Defaults(&dc)
	dc.KnownFor, dc.UnknownFor, dc.StaleFor = time.Nanosecond, time.Nanosecond, time.Nanosecond
	dir, err := directory.New(dc, directory.Env{Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	c := &Config{Name: "example.org", Login: "directory:ad", Addresses: "directory:ad"}
	conf.Defaults(c)
	store, err := users.Open(filepath.Join(t.TempDir(), "users"), nil, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	a, err := NewAccounts(store, []*Config{c}, Env{Directories: map[string]*directory.Directory{"ad": dir}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		address, full string
		forward       []string
		uncertain     bool
	}{
		{"ann@example.org", "ann@example.org", nil, false},
		{"A@Example.ORG", "ann@example.org", nil, false},
		{"all@example.org", "all@example.org", []string{"ann@example.org"}, false},
		{"none@example.org", "", nil, false},
		{"big@example.org", "", nil, true},
		{"twin@example.org", "", nil, true},
		{"eve@example.org", "", nil, false},
		{"ann@example.net", "", nil, false},
	} {
		full, forward, ok := a.Find(tc.address)
		if ok != (tc.full != "") || ok && (full != tc.full || !slices.Equal(forward, tc.forward)) {
			t.Errorf("%s: %q, %v, %t", tc.address, full, forward, ok)
		}
		if err := a.Missing(tc.address); (err != nil) != tc.uncertain {
			t.Errorf("%s: %v", tc.address, err)
		}
	}
	if !a.HasDomain("example.org") || a.HasDomain("example.net") {
		t.Error("domains")
	}
	s.Down()
	if _, _, ok := a.Find("ann@example.org"); ok || a.Missing("ann@example.org") == nil || a.Missing("ann@example.net") != nil {
		t.Error("while the directory is down")
	}
}
