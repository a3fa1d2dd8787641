package received

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"
)

//go:embed zones.txt
var zonesText string

//go:embed names.txt
var namesText string

// zoneNames maps long zone names to offsets in minutes east of UTC. The names
// in standard lack "Standard Time" or its equivalent; those in whole are
// complete.
type zoneNames struct{ standard, whole map[string]int }

// calendarNames holds the names of months and weekdays in languages other than
// English.
type calendarNames struct {
	months map[string]int
	days   map[string]bool
}

var (
	namedZones   = must(parseZones(zonesText))
	foreignNames = must(parseNames(namesText))
)

// must panics if an embedded file is malformed, which a test rules out.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// rows splits a table into columns. Lines that start with # are comments.
func rows(text string, columns int) ([][]string, error) {
	var all [][]string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		row := strings.Split(line, "|")
		if len(row) != columns {
			return nil, fmt.Errorf("row %q: want %d columns", line, columns)
		}
		for i := range row {
			row[i] = strings.TrimSpace(row[i])
		}
		all = append(all, row)
	}
	return all, nil
}

// parseZones parses rows of kind, name, minutes, IANA zone, source and date.
func parseZones(text string) (zoneNames, error) {
	z := zoneNames{map[string]int{}, map[string]int{}}
	table, err := rows(text, 6)
	if err != nil {
		return z, err
	}
	for _, r := range table {
		minutes, err := strconv.Atoi(r[2])
		if err != nil {
			return z, fmt.Errorf("zone %q: %w", r[1], err)
		}
		switch r[0] {
		case "standard":
			z.standard[r[1]] = minutes
		case "whole":
			z.whole[r[1]] = minutes
		default:
			return z, fmt.Errorf("zone %q: there is no kind %q", r[1], r[0])
		}
	}
	return z, nil
}

// parseNames parses rows of kind, month, names, source and date.
func parseNames(text string) (calendarNames, error) {
	c := calendarNames{map[string]int{}, map[string]bool{}}
	table, err := rows(text, 5)
	if err != nil {
		return c, err
	}
	for _, r := range table {
		for name := range strings.FieldsSeq(r[2]) {
			switch r[0] {
			case "month":
				if c.months[name], err = strconv.Atoi(r[1]); err != nil {
					return c, fmt.Errorf("month %q: %w", name, err)
				}
			case "day":
				c.days[name] = true
			default:
				return c, fmt.Errorf("%q: there is no kind %q", name, r[0])
			}
		}
	}
	return c, nil
}
