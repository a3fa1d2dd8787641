//go:build race

package all

// slack is the memory that pools and the race detector may use in addition to a
// bomb.
const slack = 32 << 20
