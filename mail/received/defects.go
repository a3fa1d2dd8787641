package received

import (
	"encoding/json"
	"math/bits"
)

// Defects is the set of oddities of one line. None of them stops the reader.
type Defects uint32

// The oddities.
const (
	NoSemicolon     Defects = 1 << iota // the date is not set off by a semicolon
	ManySemicolons                      // more than one semicolon
	NoDate                              // no date that can be read
	DateWithoutZone                     // the date has no zone; UTC is assumed
	NamedZoneOnly                       // a zone by name only, obsolete since 2001
	TwoDigitYear
	AsctimeDate      // "Tue May 12 08:30:02 2026"
	OddDate          // ISO, slashes, AM/PM and the like
	WrongWeekday     // the weekday is not that of the date
	NoFrom           // no from clause
	NoBy             // no by clause
	EmptyClause      // a keyword without a value
	UnclosedComment  // an opening parenthesis without its partner
	StrayParen       // a closing parenthesis without its partner
	DeepComment      // comments nested deeper than we follow
	TooManyComments  // more comments than we keep
	TooManyTokens    // the rest of the field was not read
	TooLong          // longer than MaxField
	StrayText        // words that belong to no clause
	ControlCharacter // NUL and its like
	EightBit         // bytes above 127
	RepeatedClause   // the same keyword twice
)

var defectNames = [...]string{"no-semicolon", "many-semicolons", "no-date", "no-zone", "named-zone", "two-digit-year",
	"asctime-date", "odd-date", "wrong-weekday", "no-from", "no-by", "empty-clause", "unclosed-comment", "stray-paren",
	"deep-comment", "too-many-comments", "too-many-tokens", "too-long", "stray-text", "control-character", "8bit", "repeated-clause"}

// List names the oddities in a fixed order.
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

// MarshalJSON writes the list of names.
func (d Defects) MarshalJSON() ([]byte, error) {
	names := d.List()
	if names == nil {
		names = []string{}
	}
	return json.Marshal(names)
}
