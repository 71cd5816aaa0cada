"""The action units of FACS that the rendered face knows."""

# FACS number -> (name, {blendshape of the morphable face: weight at full intensity}).
# Source: Ekman, Friesen, Hager, Facial Action Coding System, 2002.
ACTION_UNITS = {
    1: ('inner brow raiser', {'browInnerUp': 1.0}),
    2: ('outer brow raiser', {'browOuterUp': 1.0}),
    4: ('brow lowerer', {'browDown': 1.0}),
    5: ('upper lid raiser', {'eyeWide': 1.0}),
    6: ('cheek raiser', {'cheekSquint': 1.0}),
    7: ('lid tightener', {'eyeSquint': 1.0}),
    9: ('nose wrinkler', {'noseSneer': 1.0}),
    10: ('upper lip raiser', {'mouthUpperUp': 1.0}),
    12: ('lip corner puller', {'mouthSmile': 1.0}),
    14: ('dimpler', {'mouthDimple': 1.0}),
    15: ('lip corner depressor', {'mouthFrown': 1.0}),
    16: ('lower lip depressor', {'mouthLowerDown': 1.0}),
    17: ('chin raiser', {'mouthShrugLower': 1.0}),
    20: ('lip stretcher', {'mouthStretch': 1.0}),
    22: ('lip funneler', {'mouthFunnel': 1.0}),
    24: ('lip pressor', {'mouthPress': 1.0}),
    26: ('jaw drop', {'jawOpen': 0.6}),
}
