//go:build race

package all

// slack is what pools and the race detector take beside a bomb.
const slack = 32 << 20
