//go:build !race

package all

// slack is the memory that pools may use in addition to a bomb.
const slack = 2 << 20
