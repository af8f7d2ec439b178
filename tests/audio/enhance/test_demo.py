from fewstep.audio.enhance.cli import demo


def test_the_demonstration(tmp_path):
    facts = demo(tmp_path)
    assert {"noisy.wav", "cleaned.wav", "cleaned.png"} == {file.name for file in tmp_path.iterdir()}
    before, after = (float(x) for x in facts["SI-SDR before and after, dB"].split(" and "))
    assert after > before + 1
