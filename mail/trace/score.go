package trace

import (
	"fmt"
	"strings"

	"hoplite/mail"
)

// Score is the result of a spam filter on the path, as text.
type Score struct {
	Field string `json:"field"`
	Name  string `json:"name"`
	Value string `json:"value"`
	Words string `json:"words"`
}

const maxScores = 100

func (t collector) score(field, name, value, words string) {
	if len(t.Scores) < maxScores {
		t.Scores = append(t.Scores, Score{field, name, clip(value, 200), words})
	}
}

// readScore parses a field written by Exchange, SpamAssassin or rspamd.
func (t collector) readScore(name string, f mail.Field) {
	switch name {
	case "x-forefront-antispam-report", "x-microsoft-antispam":
		for part := range strings.SplitSeq(clip(f.Text(), 4096), ";") {
			key, value, ok := strings.Cut(strings.TrimSpace(part), ":")
			if words := forefront(strings.ToUpper(key), value); ok && words != "" {
				t.score(f.Name, key, value, words)
			}
		}
	case "x-ms-exchange-organization-scl":
		t.score(f.Name, "SCL", f.Text(), spamLevel(f.Text()))
	case "x-ms-exchange-organization-authas":
		t.score(f.Name, "AuthAs", f.Text(), authAs[strings.ToLower(f.Text())])
	case "x-ms-exchange-organization-authsource":
		t.score(f.Name, "AuthSource", f.Text(), "the server that decided it (AuthAs)")
	case "x-spam-status":
		verdict, rest, _ := strings.Cut(clip(f.Text(), 2048), ",")
		words := "SpamAssassin calls it no spam"
		if strings.EqualFold(strings.TrimSpace(verdict), "yes") {
			words = "SpamAssassin calls it spam"
		}
		score, required := attr(rest, "score"), attr(rest, "required")
		if score != "" && required != "" {
			words += fmt.Sprintf(" (%s of %s)", score, required)
		}
		t.score(f.Name, "status", f.Text(), words)
	case "x-spamd-result":
		text := clip(f.Text(), 2048)
		verdict, rest, _ := strings.Cut(text, ";")
		level := rest
		if i := strings.IndexByte(rest, '['); i >= 0 {
			if j := strings.IndexByte(rest[i:], ']'); j > 0 {
				level = rest[i+1 : i+j]
			}
		}
		words := "not spam, according to rspamd"
		if strings.Contains(strings.ToLower(verdict), "true") {
			words = "spam, according to rspamd"
		}
		t.score(f.Name, "result", text, words+" ("+strings.TrimSpace(clip(level, 40))+")")
	case "x-rspamd-action":
		t.score(f.Name, "action", f.Text(), "the action that rspamd requested")
	case "x-originating-ip":
		t.score(f.Name, "client", strings.Trim(f.Text(), "[]"), "the address of the author's computer, according to the web mailer")
	}
}

func attr(s, name string) string {
	if _, after, ok := strings.Cut(s, name+"="); ok {
		return firstField(after)
	}
	return ""
}

// forefront explains one key of X-Forefront-Antispam-Report, following
// Microsoft's page "Anti-spam message headers".
func forefront(key, value string) string {
	switch key {
	case "SCL":
		return spamLevel(value)
	case "BCL":
		switch n := number(value); {
		case n == 0:
			return "not a bulk sender"
		case n <= 3:
			return "bulk sender with few complaints"
		case n <= 7:
			return "bulk sender with mixed complaints"
		default:
			return "bulk sender with many complaints"
		}
	case "CAT":
		return categories[strings.ToUpper(value)]
	case "SFV":
		return filterVerdicts[strings.ToUpper(value)]
	case "IPV":
		return map[string]string{"CAL": "the address is on the allow list", "NLI": "the address is not on any reputation list"}[strings.ToUpper(value)]
	case "CIP":
		return "the address that connected to Microsoft"
	case "CTRY":
		return "the country of that address"
	case "H":
		return "the name in HELO"
	case "PTR":
		return "the reverse name of that address"
	case "DIR":
		return map[string]string{"INB": "inbound", "OUT": "outbound", "INT": "internal"}[strings.ToUpper(value)]
	}
	return ""
}

func spamLevel(v string) string {
	switch v = strings.TrimSpace(v); {
	case v == "-1":
		return "delivered without filtering (safe sender, rule or internal mail)"
	case v == "0" || v == "1":
		return "not spam"
	case v == "5" || v == "6":
		return "spam"
	case v == "7" || v == "8" || v == "9":
		return "spam with high confidence"
	}
	return "spam confidence level"
}

var authAs = map[string]string{
	"anonymous": "accepted by Exchange from an unauthenticated sender",
	"internal":  "trusted by Exchange as internal mail",
	"external":  "from a partner organisation",
	"partner":   "from a partner organisation",
}

var categories = map[string]string{
	"NONE": "no category", "BULK": "bulk", "DIMP": "impersonates a domain", "UIMP": "impersonates a user", "GIMP": "impersonates a contact", "HPHISH": "phishing, high confidence",
	"HPHSH": "phishing, high confidence", "HSPM": "spam, high confidence", "MALW": "malware", "PHSH": "phishing", "SPM": "spam", "SPOOF": "spoofed sender", "AMP": "malware", "INTOS": "spoofed inside the organisation", "OSPM": "outbound spam", "FTBP": "forbidden attachment type",
}

var filterVerdicts = map[string]string{
	"NSPM": "filtered: not spam", "SPM": "filtered: spam", "SKN": "marked as not spam before filtering", "SKS": "marked as spam before filtering", "SKA": "skipped: allowed sender in the policy",
	"SKB": "blocked sender in the policy", "SKI": "skipped: internal mail", "SKQ": "released from quarantine", "SFE": "allowed by the user's safe senders", "BLK": "blocked by the user's list",
}
