package received

import (
	"encoding/json"
	"math/bits"
)

// Defects is the set of irregularities in one line. They are not errors.
type Defects uint32

// The irregularities.
const (
	NoSemicolon     Defects = 1 << iota // no semicolon before the date
	ManySemicolons                      // more than one semicolon
	NoDate                              // no readable date
	DateWithoutZone                     // the date has no zone, or an unknown one; UTC is assumed
	NamedZoneOnly                       // a zone given only by name, obsolete since 2001
	TwoDigitYear
	AsctimeDate      // "Tue May 12 08:30:02 2026"
	OddDate          // ISO 8601, slashes, AM/PM, another language, etc.
	WrongWeekday     // the weekday does not match the date
	NoFrom           // no from clause
	NoBy             // no by clause
	EmptyClause      // a keyword without a value
	UnclosedComment  // an unmatched opening parenthesis
	StrayParen       // an unmatched closing parenthesis
	DeepComment      // comments nested too deeply
	TooManyComments  // more than MaxComments
	TooManyTokens    // more than maxTokens; the rest was not read
	TooLong          // longer than MaxField
	StrayText        // words outside any clause
	ControlCharacter // NUL and other control characters
	EightBit         // bytes above 127
	RepeatedClause   // the same keyword twice
	AmbiguousDate    // "05/12/2026 08:30", in which the first number may be the month or the day
)

var defectNames = [...]string{"no-semicolon", "many-semicolons", "no-date", "no-zone", "named-zone", "two-digit-year",
	"asctime-date", "odd-date", "wrong-weekday", "no-from", "no-by", "empty-clause", "unclosed-comment", "stray-paren",
	"deep-comment", "too-many-comments", "too-many-tokens", "too-long", "stray-text", "control-character", "8bit", "repeated-clause", "ambiguous-date"}

// List returns the names of the irregularities in a fixed order.
func (d Defects) List() []string {
	if d == 0 {
		return nil
	}
	names := make([]string, 0, bits.OnesCount32(uint32(d)))
	for i, n := range defectNames {
		if d&(1<<i) != 0 {
			names = append(names, n)
		}
	}
	return names
}

// MarshalJSON encodes the list of names.
func (d Defects) MarshalJSON() ([]byte, error) {
	names := d.List()
	if names == nil {
		names = []string{}
	}
	return json.Marshal(names)
}
