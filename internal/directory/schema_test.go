package directory

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
	"github.com/google/go-cmp/cmp"
)

func TestSchemas(t *testing.T) {
	for _, tc := range []struct {
		name, schema string
		attributes   map[string][]string
		want         Entry
	}{
		{"Exchange user", "ad", map[string][]string{
			"objectClass":        {"top", "person", "user"},
			"mail":               {"Ann@example.org"},
			"proxyAddresses":     {"smtp:a.smith@example.org", "SMTP:Ann@Example.org", "X500:/o=Example", "sip:ann@example.org", "garbage"},
			"userAccountControl": {"512"},
		}, Entry{Address: "ann@example.org", Aliases: []string{"a.smith@example.org"}}},
		{"user without Exchange", "ad", map[string][]string{"mail": {"bob@example.org"}}, Entry{Address: "bob@example.org"}},
		{"shared mailbox", "ad", map[string][]string{"mail": {"info@example.org"}, "userAccountControl": {"514"}}, Entry{Address: "info@example.org", Disabled: true}},
		{"flags that are no number", "ad", map[string][]string{"mail": {"info@example.org"}, "userAccountControl": {"x"}}, Entry{Address: "info@example.org"}},
		{"no primary proxy address", "ad", map[string][]string{"mail": {"c@example.org"}, "proxyAddresses": {"smtp:d@example.org"}}, Entry{Address: "c@example.org", Aliases: []string{"d@example.org"}}},
		{"group", "ad", map[string][]string{"objectClass": {"Group"}, "mail": {"all@example.org"}, "member": {"cn=a", "cn=b"}},
			Entry{Address: "all@example.org", Group: true, members: members{names: []string{"cn=a", "cn=b"}}}},
		{"large group", "ad", map[string][]string{"objectClass": {"group"}, "mail": {"all@example.org"}, "member;range=0-1499": {"cn=a"}},
			Entry{Address: "all@example.org", Group: true, members: members{partial: true}}},
		{"no address", "ad", map[string][]string{"objectClass": {"user"}}, Entry{}},
		{"inetOrgPerson", "inetorg", map[string][]string{"MAIL": {"ann@example.org", "ann2@example.org"}, "mailAlternateAddress": {"a@example.org"}},
			Entry{Address: "ann@example.org", Aliases: []string{"ann2@example.org", "a@example.org"}}},
		{"uid has no meaning", "inetorg", map[string][]string{"uid": {"ann"}}, Entry{}},
		{"list of addresses", "inetorg", map[string][]string{"objectClass": {"nisMailAlias"}, "mail": {"l@example.org"}, "rfc822MailMember": {"Ann@example.org"}},
			Entry{Address: "l@example.org", Group: true, members: members{addresses: []string{"ann@example.org"}}}},
		{"posix account", "posix", map[string][]string{"uid": {"Ann"}}, Entry{Address: "ann@example.org"}},
		{"posix account with mail", "posix", map[string][]string{"uid": {"ann"}, "mail": {"a@example.net"}}, Entry{Address: "a@example.net"}},
		{"posix group", "posix", map[string][]string{"objectClass": {"posixGroup"}, "mailLocalAddress": {"g@example.org"}, "memberUid": {"ann"}},
			Entry{Address: "g@example.org", Group: true, members: members{uids: []string{"ann"}}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := schemas[tc.schema]
			got := s.entry(ldap.NewEntry("cn=x", tc.attributes), "example.org")
			tc.want.DN = "cn=x"
			if diff := cmp.Diff(&tc.want, got, cmp.AllowUnexported(Entry{}, members{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// wildcard reports whether a filter contains anything but comparisons.
func wildcard(p *ber.Packet) bool {
	switch p.Tag {
	case ldap.FilterAnd, ldap.FilterOr, ldap.FilterNot:
		return slices.ContainsFunc(p.Children, wildcard)
	}
	return p.Tag != ldap.FilterEqualityMatch
}

// An address cannot change the meaning of a filter.
func TestFilters(t *testing.T) {
	for name, s := range schemas {
		for _, address := range []string{"ann@example.org", "*@example.org", "a)(objectClass=*@example.org", `a\2a@b`, "a\x00b@c", "x", "", "ä@example.org"} {
			for _, filter := range []string{s.byAddress(address), s.byLogin(address), s.byUID(address)} {
				p, err := ldap.CompileFilter(filter)
				if s.local == "" && filter == s.byUID(address) {
					continue
				}
				if err != nil {
					t.Errorf("%s: %q gives %q: %v", name, address, filter, err)
					continue
				}
				if wildcard(p) != (name == "posix" && strings.Contains(filter, "(!(mail=*))")) {
					t.Errorf("%s: %q has a wildcard in %q", name, address, filter)
				}
			}
		}
	}
	ad := schemas["ad"]
	if got, want := ad.byLogin("ann@example.org"), "(|(proxyAddresses=smtp:ann@example.org)(mail=ann@example.org)(userPrincipalName=ann@example.org))"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestCache(t *testing.T) {
	c := newCache[string](&Config{KnownFor: time.Minute, UnknownFor: time.Second, StaleFor: time.Hour, KnownMax: 2})
	start := time.Now()
	c.add("ann", "A", true, start)
	c.add("eve", "", false, start)
	for _, tc := range []struct {
		key                  string
		after                time.Duration
		fresh, found, usable bool
	}{
		{"ann", 0, true, true, true},
		{"ann", time.Minute - 1, true, true, true},
		{"ann", time.Minute, false, true, true},
		{"ann", time.Hour, false, true, false},
		{"eve", time.Second - 1, true, false, false},
		{"eve", time.Second, false, false, false},
		{"bob", 0, false, false, false},
	} {
		now := start.Add(tc.after)
		a, fresh := c.fresh(tc.key, now)
		if _, usable := c.usable(tc.key, now); fresh != tc.fresh || fresh && a.found != tc.found || usable != tc.usable {
			t.Errorf("%s after %s: fresh %t, found %t, usable %t", tc.key, tc.after, fresh, a.found, usable)
		}
	}
	c.add("bob", "B", true, start)
	c.add("cat", "C", true, start)
	if c.len() != 2 {
		t.Errorf("%d answers", c.len())
	}
}

// tree is a reader of entries by their DN or user name.
type tree map[string]*Entry

func (f tree) byName(dn string) (*Entry, error) { return f.get(dn) }
func (f tree) byUID(uid string) (*Entry, error) { return f.get(uid) }

func (f tree) get(key string) (*Entry, error) {
	if key == "broken" {
		return nil, errors.New("directory down")
	}
	return f[key], nil
}

func group(dn string, names ...string) *Entry {
	return &Entry{DN: dn, Address: dn + "@g", Group: true, members: members{names: names}}
}

func TestExpand(t *testing.T) {
	f := tree{
		"ann": {DN: "ann", Address: "ann@x"}, "bob": {DN: "bob", Address: "bob@x"}, "off": {DN: "off", Address: "off@x", Disabled: true},
		"pc": {DN: "pc"}, "inner": group("inner", "bob", "outer", "ann"), "outer": group("outer", "inner"),
		"mixed": {DN: "mixed", Group: true, members: members{names: []string{"ann"}, uids: []string{"bob"}, addresses: []string{"out@y", "ann@x"}}},
	}
	deep := group("g0", "g1")
	for i := 1; i <= maxDepth; i++ {
		f[fmt.Sprintf("g%d", i)] = group(fmt.Sprintf("g%d", i), fmt.Sprintf("g%d", i+1))
	}
	for i := range maxMembers {
		f[fmt.Sprint("m", i)] = &Entry{DN: fmt.Sprint("m", i), Address: fmt.Sprintf("%d@x", i)}
	}
	var many []string
	for i := range maxMembers {
		many = append(many, fmt.Sprint("m", i))
	}
	f["many"] = group("many", many...)
	for _, tc := range []struct {
		name   string
		group  *Entry
		refuse bool
		want   []string
		err    error
	}{
		{"people", group("g", "ann", "bob", "ann"), false, []string{"ann@x", "bob@x"}, nil},
		{"missing and without an address", group("g", "gone", "pc", "ann"), false, []string{"ann@x"}, nil},
		{"circle", f["outer"], false, []string{"bob@x", "ann@x"}, nil},
		{"disabled", group("g", "off"), false, []string{"off@x"}, nil},
		{"disabled, refused", group("g", "off", "ann"), true, []string{"ann@x"}, nil},
		{"all kinds of members", f["mixed"], false, []string{"out@y", "ann@x", "bob@x"}, nil},
		{"empty", group("g"), false, nil, nil},
		{"too deep", deep, false, nil, ErrTooLarge},
		{"exactly the limit", f["many"], false, nil, nil},
		{"too many", group("g", "many", "ann"), false, nil, ErrTooLarge},
		{"partial", &Entry{DN: "p", Group: true, members: members{partial: true}}, false, nil, ErrTooLarge},
	} {
		got, err := expand(tc.group, f, tc.refuse)
		if !errors.Is(err, tc.err) || err == nil && tc.want != nil && !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, %v", tc.name, got, err)
		}
	}
	if _, err := expand(group("g", "ann", "broken"), f, false); err == nil {
		t.Error("a member that could not be read was left out")
	}
}
