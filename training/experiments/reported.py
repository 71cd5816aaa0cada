"""The networks that bars speak of, what the paper reports of its own, how plausible that is."""

# By their names in the counter's table.
C3D, CS3D, STREAM = 'C3D', '+ attention', 'CS3D-Stream, per frame'
# What ships as a clip network, and trains in a quarter of the time: for questions that take many
# trainings.
SHIPPED = 'CS3D, pooled head, own stem'

# arXiv 2512.09592 as far as it is public: its headline, not its tables.
REPORTED = {
    C3D: '21.29 G operations',
    '+ factorised': '4.26 G operations',
    CS3D: '4.68 G operations; 10.7 points above C3D; 21.97 % of its energy',
}
PAPER = """The paper's own column is what it reports, not what was measured here, and cannot be
compared line by line: clip length, splits, theta, beta and the simulator's settings are not
public. Its 21.29 G operations are not those of the canonical C3D, which costs 37.85 G
multiply-adds at 16×112×112; no clip length gives 21.29. A C3D of five convolutions on three
channels does (21.298 G, all operations counted), which is our guess and no more. The blocks it
describes would leave 4 to 6 % of C3D's multiply-adds, not 20 %. The 0.42 G that its attention
adds is sixteen times what attention of this form costs. Its energy of 21.97 % equals the quotient
of its operations, 21.98 %, within rounding: it is very probably computed from them, not measured.
Its accuracies (78.38 % on ADFES, 54.79 % on CASME II, 90.91 % on SZU-EmoDage) are quotients of
small numbers: 29 of 37 has a 95 % interval from 63 to 89 %. Its 10.7 points over C3D lie within
such an interval."""
