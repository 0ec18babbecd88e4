// Package bulk works on many clients of a store at once: it compares configurations with
// what is stored, writes those that differ in as few transactions as the store takes, and
// reads the shapes in which older tools and exports of the table hold clients.
package bulk
