package received

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isLetter(c byte) bool { c |= 0x20; return c >= 'a' && c <= 'z' }

func three(s string) uint32 {
	return uint32(s[0]|0x20)<<16 | uint32(s[1]|0x20)<<8 | uint32(s[2]|0x20)
}

func weekdayOf(s string) int {
	switch three(s) {
	case 's'<<16 | 'u'<<8 | 'n':
		return 1
	case 'm'<<16 | 'o'<<8 | 'n':
		return 2
	case 't'<<16 | 'u'<<8 | 'e':
		return 3
	case 'w'<<16 | 'e'<<8 | 'd':
		return 4
	case 't'<<16 | 'h'<<8 | 'u':
		return 5
	case 'f'<<16 | 'r'<<8 | 'i':
		return 6
	case 's'<<16 | 'a'<<8 | 't':
		return 7
	}
	return 0
}

func monthOf(s string) int {
	switch three(s) {
	case 'j'<<16 | 'a'<<8 | 'n':
		return 1
	case 'f'<<16 | 'e'<<8 | 'b':
		return 2
	case 'm'<<16 | 'a'<<8 | 'r', 'm'<<16 | 'r'<<8 | 'z':
		return 3
	case 'a'<<16 | 'p'<<8 | 'r':
		return 4
	case 'm'<<16 | 'a'<<8 | 'y', 'm'<<16 | 'a'<<8 | 'i':
		return 5
	case 'j'<<16 | 'u'<<8 | 'n':
		return 6
	case 'j'<<16 | 'u'<<8 | 'l':
		return 7
	case 'a'<<16 | 'u'<<8 | 'g':
		return 8
	case 's'<<16 | 'e'<<8 | 'p':
		return 9
	case 'o'<<16 | 'c'<<8 | 't', 'o'<<16 | 'k'<<8 | 't':
		return 10
	case 'n'<<16 | 'o'<<8 | 'v':
		return 11
	case 'd'<<16 | 'e'<<8 | 'c', 'd'<<16 | 'e'<<8 | 'z':
		return 12
	}
	return 0
}

// zoneOf returns the offset of an abbreviated zone: RFC 5322's obsolete names,
// and those that servers write. BST means British Summer Time and CST US
// Central Time. IST is ambiguous (Ireland, Israel, India) and is treated as
// unknown.
func zoneOf(s string) (seconds int, known bool) {
	var low [5]byte
	for i := range len(s) {
		low[i] = s[i] | 0x20
	}
	switch string(low[:len(s)]) {
	case "ut", "utc", "gmt", "z", "wet", "cut":
		return 0, true
	case "bst", "cet", "met", "mez", "west":
		return 3600, true
	case "cest", "mest", "mesz", "eet", "cat", "sast":
		return 2 * 3600, true
	case "eest", "msk":
		return 3 * 3600, true
	case "msd":
		return 4 * 3600, true
	case "jst", "kst":
		return 9 * 3600, true
	case "aest":
		return 10 * 3600, true
	case "aedt":
		return 11 * 3600, true
	case "nzst":
		return 12 * 3600, true
	case "nzdt":
		return 13 * 3600, true
	case "est":
		return -5 * 3600, true
	case "edt":
		return -4 * 3600, true
	case "cst":
		return -6 * 3600, true
	case "cdt":
		return -5 * 3600, true
	case "mst":
		return -7 * 3600, true
	case "mdt":
		return -6 * 3600, true
	case "pst":
		return -8 * 3600, true
	case "pdt":
		return -7 * 3600, true
	case "akst":
		return -9 * 3600, true
	case "akdt":
		return -8 * 3600, true
	case "hst":
		return -10 * 3600, true
	}
	return 0, false
}

func daysIn(y, m int) int {
	switch m {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if y%4 == 0 && (y%100 != 0 || y%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

// daysFromCivil counts days since 1970 (Howard Hinnant's algorithm).
func daysFromCivil(y, m, d int) int64 {
	if m <= 2 {
		y--
		m += 12
	}
	era := y / 400
	yoe := y - era*400
	doy := (153*(m-3)+2)/5 + d - 1
	doe := yoe*365 + yoe/4 - yoe/100 + doy
	return int64(era)*146097 + int64(doe) - 719468
}
