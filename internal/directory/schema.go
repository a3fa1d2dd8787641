package directory

import (
	"slices"
	"strconv"
	"strings"

	"github.com/go-ldap/ldap/v3"
)

// Entry is an object of the directory that has an address.
type Entry struct {
	// DN is the distinguished name.
	DN string
	// Address is the primary address, in lower case.
	Address string
	// Aliases are the other addresses, in lower case.
	Aliases []string
	// Group is set if mail to the address is for the members.
	Group bool
	// Disabled is set if the account is disabled.
	Disabled bool
	// Ambiguous is set if several entries have the address that was searched for.
	Ambiguous bool

	members members
}

// members are the members of a group, as the directory refers to them.
type members struct {
	names     []string // distinguished names
	addresses []string
	uids      []string
	// partial is set if the server returned only some of the members, as Active
	// Directory does for groups of more than 1,500.
	partial bool
}

// maxValues limits the values of one attribute that are used.
const maxValues = 5000

// schema defines how a kind of directory stores addresses and groups.
type schema struct {
	// addresses are the attributes with addresses; the first value of the first
	// one that is present is the primary address. In prefixed attributes, each
	// value begins with a protocol such as "smtp:", in capitals for the primary
	// address.
	addresses []string
	prefixed  string
	login     []string // further attributes that may contain a login name
	local     string   // attribute with the local part, for entries without a primary attribute
	// groups are the object classes of groups. Their members are in memberNames
	// (distinguished names), memberAddresses and memberUIDs.
	groups          []string
	memberNames     []string
	memberAddresses []string
	memberUIDs      []string
	flags           string // attribute with the flags of Active Directory's accounts
}

var inetorg = schema{
	addresses:       []string{"mail", "mailAlternateAddress", "mailLocalAddress"},
	groups:          []string{"groupOfNames", "groupOfUniqueNames", "nisMailAlias", "mailGroup"},
	memberNames:     []string{"member", "uniqueMember"},
	memberAddresses: []string{"rfc822MailMember", "mgrpRFC822MailMember"},
}

var schemas = map[string]schema{
	"ad": {
		addresses:   []string{"mail"},
		prefixed:    "proxyAddresses",
		login:       []string{"userPrincipalName"},
		groups:      []string{"group"},
		memberNames: []string{"member"},
		flags:       "userAccountControl",
	},
	"inetorg": inetorg,
	"posix": {
		addresses: inetorg.addresses, memberNames: inetorg.memberNames, memberAddresses: inetorg.memberAddresses,
		local:      "uid",
		groups:     append([]string{"posixGroup"}, inetorg.groups...),
		memberUIDs: []string{"memberUid"},
	},
}

// attributes returns the attributes to request.
func (s *schema) attributes() []string {
	list := slices.Concat([]string{"objectClass"}, s.addresses, s.memberNames, s.memberAddresses, s.memberUIDs)
	for _, a := range []string{s.prefixed, s.local, s.flags} {
		if a != "" {
			list = append(list, a)
		}
	}
	return list
}

// equals returns a filter for entries whose attribute has a value. The value
// cannot change the meaning of the filter.
func equals(attribute, value string) string {
	return "(" + attribute + "=" + ldap.EscapeFilter(value) + ")"
}

// byAddress returns the filter for the entries that have an address.
func (s *schema) byAddress(address string) string { return "(|" + s.terms(address) + ")" }

// byLogin returns the filter for the entries whose user logs in by a name.
func (s *schema) byLogin(name string) string {
	terms := s.terms(name)
	for _, a := range s.login {
		terms += equals(a, name)
	}
	return "(|" + terms + ")"
}

func (s *schema) terms(address string) string {
	var b strings.Builder
	if s.prefixed != "" {
		b.WriteString(equals(s.prefixed, "smtp:"+address))
	}
	for _, a := range s.addresses {
		b.WriteString(equals(a, address))
	}
	if local, _, ok := cutAt(address); ok && s.local != "" {
		b.WriteString("(&(!(" + s.addresses[0] + "=*))" + equals(s.local, local) + ")")
	}
	return b.String()
}

// byUID returns the filter for the entry of a member that a group refers to by
// its user name.
func (s *schema) byUID(uid string) string { return equals(s.local, uid) }

// entry returns the meaning of an LDAP entry. Entries of the schema "posix"
// that have no address get one in domain.
func (s *schema) entry(e *ldap.Entry, domain string) *Entry {
	out := &Entry{DN: e.DN}
	var all []string
	if s.prefixed != "" {
		for _, v := range values(e, s.prefixed) {
			kind, address, ok := strings.Cut(v, ":")
			switch {
			case !ok || !strings.EqualFold(kind, "smtp"):
				continue
			case kind == "SMTP" && out.Address == "":
				out.Address = strings.ToLower(address)
			}
			all = append(all, strings.ToLower(address))
		}
	}
	for _, a := range s.addresses {
		for _, v := range values(e, a) {
			all = append(all, strings.ToLower(v))
		}
	}
	if len(values(e, s.addresses[0])) == 0 && s.local != "" && domain != "" {
		for _, v := range values(e, s.local) {
			all = append(all, strings.ToLower(v)+"@"+domain)
		}
	}
	if out.Address == "" && len(all) > 0 {
		out.Address = all[0]
		if m := values(e, s.addresses[0]); len(m) > 0 {
			out.Address = strings.ToLower(m[0])
		}
	}
	for _, a := range all {
		if a != out.Address && !slices.Contains(out.Aliases, a) {
			out.Aliases = append(out.Aliases, a)
		}
	}
	s.addMembers(out, e)
	if flags, err := strconv.ParseInt(e.GetEqualFoldAttributeValue(s.flags), 10, 64); err == nil && s.flags != "" {
		const accountDisable = 0x2
		out.Disabled = flags&accountDisable != 0
	}
	return out
}

// addMembers sets Group and the members.
func (s *schema) addMembers(out *Entry, e *ldap.Entry) {
	for _, class := range values(e, "objectClass") {
		out.Group = out.Group || slices.ContainsFunc(s.groups, func(g string) bool { return strings.EqualFold(g, class) })
	}
	if !out.Group {
		return
	}
	m := &out.members
	for _, a := range s.memberNames {
		m.names = append(m.names, values(e, a)...)
		for _, got := range e.Attributes {
			name, option, ok := strings.Cut(got.Name, ";")
			m.partial = m.partial || ok && strings.EqualFold(name, a) && strings.HasPrefix(strings.ToLower(option), "range=")
		}
	}
	for _, a := range s.memberAddresses {
		for _, v := range values(e, a) {
			m.addresses = append(m.addresses, strings.ToLower(v))
		}
	}
	for _, a := range s.memberUIDs {
		m.uids = append(m.uids, values(e, a)...)
	}
}

func values(e *ldap.Entry, attribute string) []string {
	v := e.GetEqualFoldAttributeValues(attribute)
	return v[:min(len(v), maxValues)]
}

// cutAt splits an address at its last @.
func cutAt(address string) (local, domain string, ok bool) {
	i := strings.LastIndexByte(address, '@')
	if i < 0 {
		return "", "", false
	}
	return address[:i], address[i+1:], true
}
